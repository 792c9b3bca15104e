import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnoise.errors import GnoiseError, UserError
from gnoise.records import (
    CoordinateSample,
    DrawSample,
    Estimate,
    Evidence,
    EvidenceRole,
    Kind,
    Layer,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    Recommendation,
    Remedy,
    RunInfo,
    RunState,
    Severity,
    Sketch,
    SketchSample,
    Status,
)
from gnoise.runfile import RunWriter, is_run, open_run, write_findings

LAYERS = (
    Layer("wte.weight", Kind.EMBEDDING, (4, 3), None, ("wte.weight", "lm_head.weight")),
    Layer("h.0.bias", Kind.BIAS, (5,), 0, ("h.0.bias",)),
)
INFO = RunInfo(
    model="toy", source="toy.pt", checkpoint_sha256="0" * 64, data="toy.bin", example="sequence",
    tokens_per_example=7, loss_reduction="mean", draws=16, examples_per_draw=3, dtype="float32",
    training_mode=True, seed=4, device="cpu", world_size=1, parameters=17, versions={"torch": "2"},
    command="gnoise profile toy.pt", created="2026-01-01T00:00:00+00:00", optimizer={"lr": 1e-3},
)  # fmt: skip


def draw_sample(rng: np.random.Generator) -> DrawSample:
    return DrawSample(rng.integers(0, 99, (2, 3)), rng.random((2, 3)), np.full((2, 3), 1 / 3), skipped=1)


def layer_samples(rng: np.random.Generator, layer: Layer, *, second_half: bool) -> LayerSamples:
    rows, columns = layer.shape[0], layer.numel // layer.shape[0]
    buckets = np.sort(rng.choice(1 << 17, 20, replace=False)).astype(np.int32)
    sketch = Sketch(buckets, rng.integers(1, 50, 20), zeros=2, nonfinite=0)
    series = {f.name: rng.random(1) for f in dataclasses.fields(MatrixSample) if f.name not in ("rows", "columns")}
    series |= {"row_energy": rng.random((1, rows)), "column_energy": rng.random((1, columns))}
    series |= {"max_position": rng.integers(rows * columns, size=1)}
    sq_norms = rng.random(2)
    return LayerSamples(
        norms=NormSample(rng.random((2, 3)), sq_norms, rng.random(1), np.full((2, 3), 1 / 3)),
        sketch=SketchSample((sketch,), (sketch,) if second_half else (), 4 if second_half else 0),
        coordinates=CoordinateSample(
            np.arange(layer.numel), rng.random((2, layer.numel), dtype=np.float32), sq_norms, sq_norms
        ),
        matrix=MatrixSample(rows=rows, columns=columns, **series) if len(layer.shape) > 1 else None,  # pyright: ignore
    )


def write_run(path: Path, blocks: int = 3) -> list[dict[str, LayerSamples]]:
    rng = np.random.default_rng(0)
    written = []
    with RunWriter(path, info=INFO, layers=LAYERS, tokens=["a", "b", "<x>", "\u202e"]) as writer:
        for block in range(blocks):
            samples = {x.name: layer_samples(rng, x, second_half=block > 0) for x in LAYERS}
            if block:  # the same coordinates in every block
                samples = {
                    name: dataclasses.replace(
                        s,
                        coordinates=dataclasses.replace(s.coordinates, index=written[0][name].coordinates.index),
                    )
                    for name, s in samples.items()
                }
            writer.write_block(draw_sample(rng), samples)
            written.append(samples)
        writer.finish(RunState.COMPLETE)
    return written


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = write_run(tmp_path / "r.gnoise")
    with open_run(tmp_path / "r.gnoise") as run:
        assert run.info == INFO
        assert run.layers == LAYERS
        assert run.tokens == ("a", "b", "<x>", "\u202e")
        assert run.state is RunState.COMPLETE
        assert run.draws.example_ids.shape == (6, 3)
        assert run.draws.skipped == 3
        for layer in LAYERS:
            read = run.samples(layer.name)
            parts = [block[layer.name] for block in written]
            for field in ("example_sq_norms", "draw_sq_norms", "block_sq_norms"):
                expected = np.concatenate([getattr(p.norms, field) for p in parts])
                np.testing.assert_array_equal(getattr(read.norms, field), expected)
            np.testing.assert_array_equal(read.coordinates.index, parts[0].coordinates.index)
            np.testing.assert_array_equal(
                read.coordinates.values, np.concatenate([p.coordinates.values for p in parts])
            )
            assert len(read.sketch.entries) == 3
            assert len(read.sketch.draws) == 2
            assert read.sketch.scale_pairs == 4
            np.testing.assert_array_equal(read.sketch.draws[1].counts, parts[2].sketch.draws[0].counts)
            assert read.sketch.entries[0].zeros == 2
        matrix = run.samples("wte.weight").matrix
        assert matrix is not None
        assert (matrix.rows, matrix.columns) == (4, 3)
        assert matrix.row_energy.shape == (3, 4)
        assert run.samples("h.0.bias").matrix is None


@pytest.mark.parametrize("older", [False, True])
def test_what_was_followed_is_joined_over_the_blocks_that_have_it(tmp_path: Path, older: bool) -> None:
    rng = np.random.default_rng(1)
    whole = [ProgressSample(("", "a"), rng.random((1, 2, 2, 4)), 0.5, 2.0) for _ in range(2)]
    if not older:
        whole = [dataclasses.replace(x, noise_nuclear=rng.random(3), along_mean=rng.random(2)) for x in whole]
        whole = [dataclasses.replace(x, mean_nuclear=7.0) for x in whole]
    with RunWriter(tmp_path / "r.gnoise", info=INFO, layers=LAYERS[:1]) as writer:
        for progress in (None, *whole):
            made = layer_samples(rng, LAYERS[0], second_half=progress is not None)
            writer.write_block(draw_sample(rng), {LAYERS[0].name: dataclasses.replace(made, progress=progress)})
        writer.finish(RunState.COMPLETE)
    with open_run(tmp_path / "r.gnoise") as run:
        read = run.samples(LAYERS[0].name).progress
    assert read is not None
    assert (read.arms, read.mean_nuclear) == (("", "a"), None if older else 7.0)
    for name in ("along", "noise_nuclear", "along_mean"):
        parts = [getattr(x, name) for x in whole]
        expected = None if older and name != "along" else np.concatenate(parts)
        np.testing.assert_array_equal(getattr(read, name), expected)


def test_model_norms_are_the_sum_over_layers(tmp_path: Path) -> None:
    written = write_run(tmp_path / "r.gnoise")
    with open_run(tmp_path / "r.gnoise") as run:
        expected = np.concatenate([sum(s.norms.draw_sq_norms for s in block.values()) for block in written])
        np.testing.assert_allclose(run.model_norms.draw_sq_norms, expected, rtol=1e-15)
        np.testing.assert_array_equal(run.samples("h.0.bias").coordinates.model_sq_norms, expected)
        assert run.model_norms.block_sq_norms.shape == (3,)


def test_a_layer_is_found_by_any_owner_and_a_typo_names_the_nearest(tmp_path: Path) -> None:
    write_run(tmp_path / "r.gnoise")
    with open_run(tmp_path / "r.gnoise") as run:
        assert run.layer("lm_head.weight").name == "wte.weight"
        with pytest.raises(UserError, match=r"try wte\.weight"):
            run.layer("wte.wieght")


def estimate(value: float | None, status: Status = Status.OK, quantity: str = "b_simple") -> Estimate:
    return Estimate("wte.weight", quantity, value, None, None, None, 8, status, "rows 1 'a'")


def test_findings_are_replaced_whole_and_samples_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    because = estimate(3.0)
    recommendation = Recommendation(
        "layer",
        "wte.weight",
        Remedy.SHRINK,
        {"scale": 1.5},
        Status.OK,
        "why",
        (because,),
        Severity.WARNING,
        1.0,
        1.2,
        1.1,
        ("stabilize: 1.02",),
        "the interval reached 1",
        0.09,
        -0.2,
        0.3,
    )
    write_findings(path, [because, estimate(None, Status.NO_SIGNAL, "grad_sq_norm")], [recommendation])
    with open_run(path) as run:
        assert run.estimates[0] == because
        assert run.estimates[1].status is Status.NO_SIGNAL
        assert run.recommendations == (recommendation,)
    write_findings(path, [estimate(4.0)], [])
    with open_run(path) as run:
        assert [e.value for e in run.estimates] == [4.0]
        assert run.recommendations == ()
        assert run.draws.example_ids.shape == (6, 3)


EVIDENCE = Evidence(
    "wte.weight", "clip", "clip at 3 median |noise|", {"clip_value": 0.5}, EvidenceRole.REMEDY, 1.2, 1.1, 1.3, 0.99,
    1.6, 1.4, None, 0.01, 64, Status.OK, 0.02, 0.17, -0.1, 0.4,
)  # fmt: skip


def test_evidence_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    nothing = Evidence(
        None, "none", "", {}, EvidenceRole.BEST, None, None, None, None, None, None, None, None, 0, Status.ALL_ZERO
    )
    write_findings(path, [], [], [nothing, EVIDENCE])
    with open_run(path) as run:
        assert run.evidence == (nothing, EVIDENCE)
    for broken in ({"gain": float("nan")}, {"batch": float("inf")}, {"gain": None}):
        with pytest.raises(GnoiseError, match=r"finite|status"):
            write_findings(path, [], [], [dataclasses.replace(EVIDENCE, **broken)])
    with open_run(path) as run:
        assert len(run.evidence) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_and_nothing_is_lost(tmp_path: Path, value: float) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    write_findings(path, [estimate(1.0)], [])
    with pytest.raises(GnoiseError, match="finite"):
        write_findings(path, [estimate(value)], [])
    with pytest.raises(GnoiseError, match="status"):
        write_findings(path, [estimate(None)], [])
    with open_run(path) as run:
        assert [e.value for e in run.estimates] == [1.0]


def test_the_file_itself_refuses_a_missing_value_without_a_status(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    connection = sqlite3.connect(path)
    insert = "INSERT INTO estimate VALUES (1, 'wte.weight', 'q', ?, NULL, NULL, NULL, 1, 'ok', '')"
    for value in (None, float("nan"), float("inf")):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(insert, (value,))
    connection.close()


def test_one_file_is_left(tmp_path: Path) -> None:
    write_run(tmp_path / "r.gnoise")
    assert [p.name for p in tmp_path.iterdir()] == ["r.gnoise"]


def test_an_output_that_exists_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="--force"):
        RunWriter(path, info=INFO, layers=LAYERS)
    assert path.read_bytes() == before


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="expected to write"):
        RunWriter(tmp_path / "file" / "r.gnoise", info=INFO, layers=LAYERS)
    with pytest.raises(UserError, match="folder"):
        RunWriter(tmp_path, info=INFO, layers=LAYERS)


def test_what_is_not_a_run_is_refused_with_exit_code_3(tmp_path: Path) -> None:
    text, other, empty = tmp_path / "t.gnoise", tmp_path / "o.gnoise", tmp_path / "e.gnoise"
    text.write_text("hello")
    empty.touch()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    for path in (text, other, empty, tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=r"expected .*; try ") as caught:
            open_run(path)
        assert caught.value.exit_code == 3
        assert not is_run(path)


def test_a_newer_format_is_refused_naming_both(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(UserError, match=r"format 5 or older, but .* is format 7"):
        open_run(path)


def read_all(path: Path) -> None:
    with open_run(path) as run:
        for layer in run.layers:
            run.samples(layer.name)
        _ = run.estimates, run.recommendations, run.draws


def test_a_truncated_run_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    whole = path.read_bytes()
    for size in (20, 1000, 5000, len(whole) - 8192):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="expected") as caught:
            read_all(path)
        assert caught.value.exit_code == 3


def test_reading_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    write_run(path)
    with open_run(path) as run, pytest.raises(sqlite3.OperationalError, match="readonly"):
        run._connection.execute("DELETE FROM layer")


KILLED = """
import os, sys, numpy as np
sys.path.insert(0, {tests!r})
from test_runfile import *
rng = np.random.default_rng(0)
writer = RunWriter(Path({path!r}), info=INFO, layers=LAYERS)
for block in range(2):
    writer.write_block(draw_sample(rng), {{x.name: layer_samples(rng, x, second_half=False) for x in LAYERS}})
writer._connection.execute("BEGIN IMMEDIATE")
writer._connection.execute("DELETE FROM array")
print("ready", flush=True)
os.read(0, 1)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_the_last_whole_block(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    with open_run(path) as run:
        assert run.state is RunState.COLLECTING
        assert run.draws.example_ids.shape == (4, 3)
        assert run.samples("wte.weight").norms.draw_sq_norms.shape == (4,)


def test_a_run_can_be_followed_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "r.gnoise"
    rng = np.random.default_rng(0)
    with RunWriter(path, info=INFO, layers=LAYERS) as writer, open_run(path) as run:
        assert run.state is RunState.COLLECTING
        assert run.draws.example_ids.shape == (0, 0)
        writer.write_block(draw_sample(rng), {x.name: layer_samples(rng, x, second_half=False) for x in LAYERS})
        assert run.draws.example_ids.shape == (2, 3)
