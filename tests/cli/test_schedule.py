"""A batch schedule out of run files, from the shell to the training loop."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gnoise.export import load_schedule
from gnoise.records import Estimate, Layer, RunInfo, Status
from gnoise.remedies import NoiseScaleBatchSchedule
from gnoise.runfile import RunWriter, write_findings
from tests.app.conftest import write_blocks
from tests.charts.records import INFO, LAYERS, known, unknown
from tests.cli.conftest import Run

SCALES = ((100, 40.0), (400, 60.0), (900, 80.0))


def _write(path: Path, info: RunInfo, estimates: Sequence[Estimate], layers: Sequence[Layer] = LAYERS) -> Path:
    with RunWriter(path, info=info, layers=layers) as writer:
        write_blocks(writer, range(1))
    write_findings(path, estimates, ())
    return path


def _at(iteration: int) -> RunInfo:
    return replace(INFO, checkpoint_sha256=str(iteration), optimizer={**INFO.optimizer, "iteration": iteration})


@pytest.fixture
def training(tmp_path: Path) -> list[Path]:
    """Three moments of one training."""
    return [
        _write(tmp_path / f"at-{step}.gnoise", _at(step), [known(None, "b_simple", scale, 0.9 * scale, 1.1 * scale)])
        for step, scale in SCALES
    ]


def test_runs_of_one_training_give_the_schedule_a_loop_reads(gnoise: Run, training: list[Path]) -> None:
    result = gnoise("export", *training[::-1], "--format", "schedule", "--highest", 70)
    assert result.code == 0, result.err
    assert result.err.splitlines()[-1] == "Wrote schedule.json"
    assert "32 sequences at 0 tokens, then 40 sequences at 204,800 tokens" in result.err
    schedule = load_schedule("schedule.json")
    assert schedule.tokens == (0.0, 204_800.0, 819_200.0, 1_843_200.0)
    assert schedule.examples == (32.0, 40.0, 60.0, 70.0)
    keeper = NoiseScaleBatchSchedule.load("schedule.json", micro_batch=2)
    assert keeper.examples == 32
    keeper.step(1_843_200)
    assert keeper.examples == 70


def test_one_run_and_bounds_of_ones_own(gnoise: Run, training: list[Path]) -> None:
    arguments = "export", training[2], "--format", "schedule", "-o", "mine.json", "--lowest", 8, "--highest", 64
    assert gnoise(*arguments).code == 0
    assert load_schedule("mine.json").examples == (8.0, 64.0)
    again = gnoise(*arguments)
    assert again.code == 2
    assert "--force" in again.err
    assert gnoise(*arguments, "--force").code == 0
    crossed = gnoise("export", training[2], "--format", "schedule", "--lowest", 64, "--highest", 8)
    assert crossed.code == 2
    assert not Path("schedule.json").exists()
    small = gnoise("export", training[2], "--format", "schedule", "--highest", 16)
    assert small.code == 0, "the present batch of 32 is no reason to refuse smaller ones"
    assert load_schedule("schedule.json").examples == (16.0, 16.0)


def test_a_scale_to_beware_of_is_told(gnoise: Run, tmp_path: Path) -> None:
    scale = replace(known(None, "b_simple", 60.0, 40.0, None), status=Status.ONE_SIDED)
    result = gnoise("export", _write(tmp_path / "wide.gnoise", _at(10), [scale]), "--format", "schedule")
    assert result.code == 0
    assert f"wide.gnoise: {Status.ONE_SIDED.advice}" in result.err


def test_what_makes_no_schedule_says_why(gnoise: Run, training: list[Path], tmp_path: Path) -> None:
    scale = known(None, "b_simple", 60.0, 40.0, 80.0)
    silent = _write(tmp_path / "silent.gnoise", replace(INFO, optimizer={}), [scale])
    none = _write(tmp_path / "none.gnoise", _at(5), [])
    weak = _write(tmp_path / "weak.gnoise", _at(5), [unknown(None, "b_simple", Status.NO_SIGNAL)])
    other = _write(tmp_path / "other.gnoise", replace(_at(5), tokens_per_example=7), [scale])
    for runs, words in (
        ([silent], r"iteration and its batch size, silent\.gnoise"),
        ([none], f"try gnoise analyze {none}"),
        ([weak], "weak.gnoise, got no_signal"),
        ([training[0], other], "expected runs of one training, got at-100.gnoise and other.gnoise"),
    ):
        result = gnoise("export", *runs, "--format", "schedule")
        assert result.code == 3, result.err
        assert words.replace("\\", "") in result.err
        assert "try" in result.err
        assert not Path("schedule.json").exists()


def test_other_formats_take_one_run_and_no_bounds(gnoise: Run, training: list[Path]) -> None:
    for arguments in (training[:2], [training[0], "--lowest", 8]):
        result = gnoise("export", *arguments)
        assert result.code == 2
        assert "--format schedule" in result.err


def test_show_prices_batches(gnoise: Run, training: list[Path]) -> None:
    shown = gnoise("show", training[0], "--all")
    assert shown.code == 0
    assert "8 × now" in shown.out
    assert "learning rate, Adam" in shown.out


def test_show_as_json_prices_batches(gnoise: Run, training: list[Path], tmp_path: Path) -> None:
    cost = json.loads(gnoise("show", training[0], "--json").out)["model"]["batch_cost"]
    assert (cost["present"], cost["present_is"]) == (32, "batch in training")
    assert [each["times"] for each in cost["batches"]] == [0.5, 1.0, 2.0, 4.0, 8.0]
    doubled = cost["batches"][2]
    share = 40.0 / 72.0
    assert doubled["steps"]["value"] == pytest.approx(1.0 - share / 2.0)
    assert doubled["learning_rate_sgd"]["value"] == pytest.approx(1.0 / (1.0 - share / 2.0))
    assert doubled["learning_rate_adam"]["value"] == pytest.approx((1.0 - share / 2.0) ** -0.5)
    assert doubled["steps"]["low"] < doubled["steps"]["value"] < doubled["steps"]["high"]
    none = _write(tmp_path / "none.gnoise", _at(5), [])
    assert json.loads(gnoise("show", none, "--json").out)["model"]["batch_cost"] is None
