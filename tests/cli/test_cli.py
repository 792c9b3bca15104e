import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

import gnoise.export
from gnoise.quantities import QUANTITIES
from gnoise.runfile import open_run
from gnoise.runfile.upgrade import FORMAT
from tests.cli.conftest import Run, write_checkpoint

SCHEMA = json.loads((Path(gnoise.export.__file__).parent / "recommendations.schema.json").read_text())


def test_profile_prints_the_verdict_on_stdout_and_talk_on_stderr(gnoise: Run, checkpoint: Path) -> None:
    result = gnoise("profile", checkpoint)
    assert result.code == 0
    assert result.out.startswith("Verdict ")
    for word in ("Why", "Next", "transformer.wte.weight"):
        assert word in result.out
    assert "nanoGPT checkpoint" in result.err
    assert result.err.rstrip().endswith("Wrote tiny.gnoise")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert 5 < lines.index("") < 20  # the verdict ends where the table begins
    assert Path("tiny.gnoise").is_file()


def test_an_optimizer_that_is_not_told_is_said_with_what_to_type(gnoise: Run, checkpoint: Path) -> None:
    silent = gnoise("profile", checkpoint, "--dry-run")
    assert "Note   the checkpoint names no optimizer: remedies are judged under AdamW" in silent.err
    assert "--optimizer muon" in silent.err
    assert "Note" not in gnoise("profile", checkpoint, "--dry-run", "--optimizer", "adamw").err


def test_quiet_says_nothing_but_the_result(gnoise: Run, checkpoint: Path) -> None:
    result = gnoise("profile", checkpoint, "-q")
    assert result.err == ""
    assert result.out.startswith("Verdict")


def test_json_is_alone_on_stdout_and_equals_show(gnoise: Run, checkpoint: Path) -> None:
    profiled = gnoise("profile", checkpoint, "--json", "-o", "a.gnoise")
    shown = gnoise("show", "a.gnoise", "--json")
    assert profiled.out == shown.out
    document = json.loads(shown.out)
    assert (document["format"], document["version"]) == ("gnoise.show", 1)
    assert set(document) == {"format", "version", "run", "model", "layers", "trials"}
    for layer in document["layers"]:
        assert set(layer) >= {"name", "kind", "shape", "estimates", "recommendation"}
        for estimate in layer["estimates"]:
            assert set(estimate) >= {"quantity", "value", "low", "high", "n", "status"}
            assert estimate["quantity"] in QUANTITIES
            assert (estimate["value"] is not None) or estimate["status"] != "ok"


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(gnoise: Run, checkpoint: Path) -> None:
    documents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert gnoise("profile", checkpoint, "-o", f"{name}.gnoise", "--seed", seed).code == 0
        document = json.loads(gnoise("show", f"{name}.gnoise", "--json").out)
        for key in ("created", "command", "seed"):
            del document["run"][key]
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0] != documents[2]


def test_analyze_gives_the_same_numbers_again(gnoise: Run, a_run: Path) -> None:
    before = gnoise("show", a_run, "--json").out
    result = gnoise("analyze", a_run)
    assert result.code == 0
    assert result.out.startswith("Verdict")
    assert gnoise("show", a_run, "--json").out == before


def test_analyze_judges_the_remedies_asked_for_and_finds_the_same(gnoise: Run, a_run: Path) -> None:
    with open_run(a_run) as run:
        before = run.evidence
    assert gnoise("analyze", a_run, "--remedies", "clip, stabilize").code == 0
    with open_run(a_run) as run:
        after = run.evidence
    judged = [each for each in after if each.remedy in ("clip", "stabilize") and each.role != "best"]
    assert judged == [each for each in before if each.remedy in ("clip", "stabilize") and each.role != "best"]
    assert {each.remedy for each in after} <= {"clip", "stabilize", "batch", "none"}
    refused = gnoise("analyze", a_run, "--remedies", "pray")
    assert refused.code == 2
    assert "try --remedies clip,shrink" in refused.err


def test_analyze_and_show_never_import_torch(a_run: Path) -> None:
    code = (
        "import sys; from gnoise.runfile.analyze import analyze; analyze(sys.argv[1]);"
        "from gnoise.cli.show import show_run; show_run(__import__('pathlib').Path(sys.argv[1]));"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(a_run)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_show_one_layer_by_either_of_its_names(gnoise: Run, a_run: Path) -> None:
    result = gnoise("show", a_run, "lm_head.weight")
    assert result.code == 0
    assert "transformer.wte.weight" in result.out
    assert "tied with lm_head.weight" in result.out
    document = json.loads(gnoise("show", a_run, "lm_head.weight", "--json").out)
    assert document["name"] == "transformer.wte.weight"
    missing = gnoise("show", a_run, "transformer.wte.wieght")
    assert missing.code == 2
    assert "try transformer.wte.weight" in missing.err


def test_exported_recommendations_fit_the_shipped_schema(gnoise: Run, a_run: Path) -> None:
    result = gnoise("export", a_run)
    assert result.code == 0
    assert result.err == "Wrote recommendations.json\n"
    text = Path("recommendations.json").read_text()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    jsonschema.validate(document, SCHEMA)
    with open_run(a_run) as run:
        assert [r["layer"] for r in document["recommendations"]] == [None, *(x.name for x in run.layers)]
    assert text == json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_exported_tables_hold_every_estimate(gnoise: Run, a_run: Path, format: str) -> None:
    assert gnoise("export", a_run, "--format", format).code == 0
    with open_run(a_run) as run:
        estimates = run.estimates
    if format == "csv":
        rows = list(csv.DictReader(Path("estimates.csv").read_text().splitlines()))
        values = [float(r["value"]) if r["value"] else None for r in rows]
    else:
        table = pd.read_parquet("estimates.parquet")
        values = [None if pd.isna(v) else v for v in table["value"]]
    assert values == [e.value for e in estimates]


def test_dry_run_writes_nothing(gnoise: Run, checkpoint: Path, tmp_path: Path) -> None:
    result = gnoise("profile", checkpoint, "--dry-run")
    assert result.code == 0
    assert "MB on disk" in result.out
    assert "transformer.h.0.mlp.c_fc.weight" in result.out
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_include_and_exclude_choose_layers(gnoise: Run, checkpoint: Path) -> None:
    gnoise("profile", checkpoint, "--include", "mlp", "--exclude", "bias", "-o", "a.gnoise")
    with open_run("a.gnoise") as run:
        assert [x.name for x in run.layers] == [
            "transformer.h.0.mlp.c_fc.weight",
            "transformer.h.0.mlp.c_proj.weight",
        ]


def test_settings_flag_over_environment_over_file_over_default(
    gnoise: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNOISE_SEED", "5")
    monkeypatch.setenv("GNOISE_DRAWS", "48")
    lines = gnoise("profile", checkpoint, "--draws", "32", "--show-config").out.splitlines()
    assert "draws = 32   # flag" in lines
    assert "seed = 5   # environment" in lines
    assert f"batch_size = 2   # {checkpoint / 'gnoise.toml'}" in lines
    assert "device = 'auto'   # default" in lines


@pytest.mark.parametrize("path", ["", "ckpt.pt"])
def test_inspect_reads_without_loading(gnoise: Run, checkpoint: Path, path: str) -> None:
    result = gnoise("inspect", checkpoint / path)
    assert result.code == 0
    assert "nanoGPT checkpoint" in result.out
    document = json.loads(gnoise("inspect", checkpoint / path, "--json").out)
    assert document["parameter_count"] == 32 * 8 + 8 * 8 + (12 * 8 * 8 + 13 * 8) + 2 * 8
    assert document["optimizer"]["clip_global_norm"] == 1.0


def test_fail_on(gnoise: Run, a_run: Path, checkpoint: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "x.gnoise", "--fail-on", "never").code == 2
    quiet = gnoise("profile", checkpoint, "-o", "x.gnoise", "--fail-on", "critical")
    assert quiet.code == 0


BAD = {
    "missing path": (["profile", "nowhere"], 3),
    "folder that is no checkpoint": (["profile", "empty"], 3),
    "truncated checkpoint": (["profile", "cut"], 3),
    "odd byte count": (["profile", "tiny", "--data", "odd.bin"], 3),
    "tokens past the vocabulary": (["profile", "tiny", "--data", "past.bin"], 3),
    "no data in the file": (["profile", "tiny", "--data", "none.bin"], 3),
    "no such data": (["profile", "tiny", "--data", "missing.bin"], 3),
    "factory without a colon": (["profile", "plain.pt", "--factory", "factory", "--data", "train.bin"], 2),
    "factory without such an attribute": (
        ["profile", "plain.pt", "--factory", "json:make", "--data", "train.bin"],
        2,
    ),
    "missing and unexpected keys": (["profile", "keys"], 3),
    "NaN weights": (["profile", "nan"], 3),
    "not a run file": (["show", "text.gnoise"], 3),
    "draws that do not split": (["profile", "tiny", "--draws", "20"], 2),
    "too few draws": (["profile", "tiny", "--draws", "1"], 2),
    "one example": (["profile", "tiny", "--batch-size", "1"], 2),
    "an output that exists": (["profile", "tiny", "-o", "text.gnoise"], 2),
    "an output that is a folder": (["profile", "tiny", "-o", "empty"], 2),
    "an output below a file": (["profile", "tiny", "-o", "text.gnoise/run.gnoise"], 2),
    "unknown export format": (["export", "text.gnoise", "--format", "xml"], 3),
    "no such device": (["profile", "tiny", "--device", "quantum"], 2),
    "an unknown mode": (["profile", "tiny", "--mode", "sleep"], 2),
    "a broken expression": (["profile", "tiny", "--include", "("], 2),
    "unknown settings": (["profile", "settings"], 2),
    "settings that are no TOML": (["profile", "toml"], 3),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_error(gnoise: Run, checkpoint: Path, tmp_path: Path, case: str) -> None:
    arguments, code = BAD[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.gnoise").write_text("mine")
    write_checkpoint(tmp_path / "nan", nan=True)
    write_checkpoint(tmp_path / "keys", drop="transformer.wpe.weight")
    cut = write_checkpoint(tmp_path / "cut") / "ckpt.pt"
    cut.write_bytes(cut.read_bytes()[:3000])
    (write_checkpoint(tmp_path / "settings") / "gnoise.toml").write_text('colour = "red"\n')
    (write_checkpoint(tmp_path / "toml") / "gnoise.toml").write_text("data = \n")
    (checkpoint / "odd.bin").write_bytes(b"\x01\x00" * 500 + b"\x01")
    (checkpoint / "past.bin").write_bytes(b"\xff\x00" * 500)
    (checkpoint / "none.bin").write_bytes(b"")
    import torch

    torch.save({"weight": torch.zeros(2)}, tmp_path / "plain.pt")
    result = gnoise(*arguments)
    assert result.code == code, result.err
    lines = [line for line in result.err.splitlines() if line.startswith("gnoise: ")]
    assert len(lines) == 1, result.err
    assert result.err.splitlines()[-1] == lines[0]
    assert "expected" in lines[0]
    assert "try " in lines[0]
    assert "Traceback" not in result.err
    assert result.out == ""
    assert (tmp_path / "text.gnoise").read_text() == "mine"


def test_missing_keys_are_summed_up_not_dumped(gnoise: Run, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "keys", drop="transformer.wpe.weight")
    result = gnoise("profile", tmp_path / "keys")
    assert "transformer.wpe.weight" in result.err
    assert "surplus" in result.err
    assert len(result.err) < 600


def test_a_newer_run_file_names_both_formats(gnoise: Run, a_run: Path) -> None:
    import sqlite3

    with sqlite3.connect(a_run) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    result = gnoise("show", a_run)
    assert result.code == 3
    assert f"format {FORMAT} or older" in result.err
    assert "format 99" in result.err


def test_a_typo_is_answered(gnoise: Run) -> None:
    result = gnoise("porfile", "x")
    assert result.code == 2
    assert "profile" in result.err


def test_nothing_is_written_when_the_output_exists(gnoise: Run, a_run: Path, checkpoint: Path) -> None:
    before = a_run.read_bytes()
    assert gnoise("profile", checkpoint, "-o", a_run).code == 2
    assert a_run.read_bytes() == before
    assert gnoise("profile", checkpoint, "-o", a_run, "--force").code == 0


def test_profiling_reaches_no_network(gnoise: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert gnoise("profile", checkpoint).code == 0


def test_an_interrupt_leaves_a_readable_run(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.gnoise"
    process = subprocess.Popen(
        [sys.executable, "-m", "gnoise", "profile", checkpoint, "-o", path, "--draws", "3200"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    while not process.stderr.readline().startswith("Drawing"):
        assert process.poll() is None
    while True:  # until the first block is in the file, so that there is something to read
        if path.exists():
            with open_run(path) as run:
                if run.draws.example_ids.size:
                    break
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Interrupted" in err
    assert out.startswith("Verdict")
    with open_run(path) as run:
        assert run.state == "interrupted"
        assert run.estimates


SUMMED = """
from torch.nn.functional import cross_entropy

def summed(module, batch):
    return cross_entropy(module(*batch)[0].flatten(0, 1), batch[1].flatten(), reduction="sum")

def broken(module, batch):
    raise KeyError("labels")
"""


@pytest.mark.parametrize("loss", ["summed", "broken"])
def test_a_false_start_replaces_nothing_and_leaves_nothing(
    gnoise: Run, checkpoint: Path, a_run: Path, tmp_path: Path, loss: str
) -> None:
    (checkpoint / "losses.py").write_text(SUMMED)
    before = a_run.read_bytes()
    forced = gnoise("profile", checkpoint, "--loss", f"losses:{loss}", "-o", a_run, "--force")
    assert (forced.code, forced.out) == (3, "")
    assert forced.err.splitlines()[-1].startswith("gnoise: expected ")
    assert a_run.read_bytes() == before
    assert gnoise("profile", checkpoint, "--loss", f"losses:{loss}", "-o", "new.gnoise").code == 3
    assert not Path("new.gnoise").exists()


def test_a_run_that_is_being_written_is_not_called_damaged(gnoise: Run, a_run: Path) -> None:
    import sqlite3

    with sqlite3.connect(a_run, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        result = gnoise("analyze", a_run)
        writer.execute("ROLLBACK")
    writer.close()
    assert result.code == 3
    assert "another process is writing it; try again" in result.err


def test_an_unfinished_run_says_so(gnoise: Run, a_run: Path) -> None:
    import sqlite3

    with sqlite3.connect(a_run) as connection:
        connection.execute("""UPDATE run SET value = '"interrupted"' WHERE key = 'state'""")
    connection.close()
    assert "this run is interrupted: 16 of 16 draws" in gnoise("show", a_run).out


def test_the_unexpected_is_one_line_too(gnoise: Run, a_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("gnoise.runfile.open_run", explode)
    result = gnoise("show", a_run)
    assert result.code == 70
    assert result.err == "gnoise: expected no ZeroDivisionError, got one: a bug; try --debug and report it\n"
