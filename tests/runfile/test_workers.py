"""Analysis in worker processes against analysis in this one."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import gnoise
from gnoise.collect import collect_run, run_info, trainable_parameters
from gnoise.errors import ExitCode, UserError
from gnoise.runfile import open_run, workers
from gnoise.runfile.analyze import analyze, find_all
from gnoise.runfile.workers import workers_for
from tests.collect.workloads import tied_workload

CLIP = ("clip", "layerwise_lr")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collect a run of six layers, not analysed."""
    path = tmp_path_factory.mktemp("workers") / "run.gnoise"
    workload = tied_workload()
    parameters = trainable_parameters(workload.module)
    info = run_info(workload, parameters, source="x", draws=32, examples_per_draw=4, seed=0, command="test")
    collect_run(workload, parameters, path, info=info)
    return path


@pytest.mark.parametrize(("count", "remedies"), [(2, None), (7, CLIP)])
def test_any_number_of_workers_finds_the_same(collected: Path, count: int, remedies: tuple[str, ...] | None) -> None:
    with open_run(collected) as run:
        assert find_all(run, remedies, count) == find_all(run, remedies, 1)


def test_what_a_worker_cannot_do_is_done_here(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(collected) as run:
        alone = find_all(run, CLIP, 1)
        for interpreter in ("/there/is/none", "/bin/false"):
            monkeypatch.setattr(sys, "executable", interpreter)
            assert find_all(run, CLIP, 2) == alone


def test_an_error_is_the_one_that_there_is_without_workers(collected: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.gnoise"
    shutil.copy(collected, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE array SET data = x'00' WHERE layer = 3 AND name = 'coordinates.values'")
    said: list[str] = []
    for count in (1, 2):
        with pytest.raises(UserError) as raised:
            analyze(path, workers=count)
        assert raised.value.exit_code is ExitCode.UNREADABLE
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_an_interrupt_leaves_no_worker_and_the_run_as_it_was(collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(process: "subprocess.Popen[bytes]") -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_answer", interrupted)
    before = collected.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        analyze(collected, workers=2)
    (first,) = started
    assert first.returncode is not None
    assert collected.read_bytes() == before


def test_a_script_that_calls_it_runs_once(collected: Path, tmp_path: Path) -> None:
    """As ``multiprocessing`` would not have it: a training script need not hide behind ``if __name__``."""
    path, script = tmp_path / "run.gnoise", tmp_path / "train.py"
    shutil.copy(collected, path)
    script.write_text(f"from gnoise.runfile.analyze import analyze\nprint('once')\nanalyze({str(path)!r}, workers=2)\n")
    ours = os.environ | {"PYTHONPATH": str(Path(gnoise.__file__).parents[1])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=ours)
    assert done.stdout == "once\n"
    assert done.stderr == ""
    with open_run(path) as run:
        assert run.recommendations


def test_there_are_workers_where_there_is_work_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_cores", lambda: 40)
    assert [workers_for(layers) for layers in (0, 1, 23, 24, 64, 148, 1000)] == [1, 1, 1, 2, 5, 12, 16]
    monkeypatch.setattr(workers, "_cores", lambda: 1)
    assert workers_for(1000) == 1
