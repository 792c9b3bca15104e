"""Run files of every older format open, keep what they held, and are only ever upgraded in a copy."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from gnoise.records import Status, Verdict
from gnoise.runfile import open_run, write_findings
from gnoise.runfile.upgrade import FORMAT

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
OLDER = sorted(GOLDEN.glob("format_*.gnoise"))
every_format = pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)


def _format(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def _schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {(name, "".join(sql.split())) for name, sql in rows}


def test_every_older_format_is_kept() -> None:
    assert [_format(path) for path in OLDER] == list(range(1, FORMAT))


@every_format
def test_an_older_run_opens_and_is_left_as_it_was(path: Path, tmp_path: Path) -> None:
    old = Path(shutil.copy(path, tmp_path))
    before = hashlib.sha256(old.read_bytes()).hexdigest()
    with open_run(old) as run:
        assert [layer.name for layer in run.layers] == ["wte.weight", "h.0.bias"]
        assert run.draws.example_ids.shape == (4, 3)
        assert [each.quantity for each in run.estimates] == ["b_simple"]
        assert run.recommendations[0].because == run.estimates
        assert run.samples("wte.weight").matrix is not None
        assert run.verdicts == ()
        assert [each.tokens_saved for each in (*run.evidence, *run.recommendations) if each.tokens_saved] == []
    assert hashlib.sha256(old.read_bytes()).hexdigest() == before


def test_evidence_of_before_tokens_were_asked_is_kept() -> None:
    with open_run(GOLDEN / "format_4.gnoise") as run:
        (kept,) = run.evidence
    assert (kept.layer, kept.remedy, kept.gain, kept.n, kept.tokens_saved) == ("wte.weight", "clip", 1.2, 64, None)


@every_format
def test_new_findings_bring_an_older_run_up_to_date(path: Path, tmp_path: Path) -> None:
    old = Path(shutil.copy(path, tmp_path))
    verdict = Verdict("wte.weight", "averaging", "stable", "gaussian", 2.5, 0.01, 8, Status.OK, "rows 3", 0.02)
    write_findings(old, [verdict], [])
    assert _format(old) == FORMAT
    with open_run(old) as run:
        assert run.verdicts == (verdict,)
        assert run.estimates == ()
        assert run.draws.example_ids.shape == (4, 3)
    fresh = tmp_path / "fresh.gnoise"
    with closing(sqlite3.connect(fresh)) as connection:
        connection.executescript(files("gnoise.runfile").joinpath("schema.sql").read_text("utf-8"))
    assert _schema(old) == _schema(fresh)
    assert sorted(x.name for x in tmp_path.iterdir()) == sorted([old.name, fresh.name])
