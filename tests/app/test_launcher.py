"""``gnoise app`` refuses what is wrong in the terminal, and serves the rest on this machine only."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import streamlit

from gnoise.cli import app as verb_home
from gnoise.cli.app import ADDRESS, app
from gnoise.errors import ExitCode, UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Catch what would have been served, without serving it."""
    seen: dict[str, object] = {}

    class Recorder:
        def __init__(self, script: Path) -> None:
            seen["script"] = script

        def run(self, *, config: dict[str, object]) -> None:
            seen.update(config)
            seen["runs"] = json.loads(os.environ["GNOISE_APP_RUNS"])

    monkeypatch.setattr(streamlit, "App", Recorder)
    monkeypatch.setenv("GNOISE_APP_RUNS", "[]")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return seen


def _port_in_use() -> tuple[socket.socket, int]:
    taken = socket.socket()
    taken.bind((ADDRESS, 0))
    taken.listen()
    return taken, taken.getsockname()[1]


def _free_port() -> int:
    taken, port = _port_in_use()
    taken.close()
    return port


def test_it_serves_this_machine_only_and_tells_nobody(served: dict[str, object], full_run: Path) -> None:
    app([full_run], base_url="/gnoise/")
    assert served["script"] == ROOT / "app" / "main.py"
    assert served["server.address"] == "127.0.0.1"
    assert served["server.baseUrlPath"] == "gnoise"
    assert served["browser.gatherUsageStats"] is False
    assert served["runs"] == [str(full_run)]


def test_every_option_is_one_streamlit_knows(served: dict[str, object], full_run: Path) -> None:
    from streamlit import config

    app([full_run])
    options = {name for name in served if "." in name}
    assert options <= set(config.get_config_options())


def test_several_runs_are_handed_over(served: dict[str, object], full_run: Path, bare_run: Path) -> None:
    app([full_run, bare_run])
    assert served["runs"] == [str(full_run), str(bare_run)]


def test_without_runs_it_takes_those_of_the_folder(
    served: dict[str, object], full_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(full_run.parent)
    app()
    assert served["runs"] == [str(full_run)]


def test_an_empty_folder_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.gnoise").write_text("not a run")
    with pytest.raises(UserError, match=r"try gnoise profile") as refused:
        app()
    assert refused.value.exit_code == ExitCode.UNREADABLE


def test_a_file_that_is_no_run_is_refused_in_the_terminal(
    served: dict[str, object], tmp_path: Path, full_run: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a run")
    with pytest.raises(UserError, match="not one") as refused:
        app([full_run, path])
    assert refused.value.exit_code == ExitCode.UNREADABLE
    assert not served


def test_a_port_in_use_is_refused(full_run: Path) -> None:
    taken, port = _port_in_use()
    with taken, pytest.raises(UserError, match=f"got {port}, which is in use; try --port"):
        app([full_run], port=port)


def test_the_default_port_moves_on_when_taken(
    served: dict[str, object], full_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, port = _port_in_use()
    monkeypatch.setattr(verb_home, "_FIRST_PORT", port)
    with taken:
        app([full_run])
    assert port < served["server.port"] < port + 20


def test_on_a_remote_host_it_says_how_to_get_there(
    served: dict[str, object],
    full_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5555 10.0.0.2 22")
    port = _free_port()
    app([full_run], port=port)
    said = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}/" in said
    assert re.search(rf"ssh -N -L {port}:127\.0\.0\.1:{port} \S+@10\.0\.0\.2", said)


def test_the_installed_verb_really_serves(full_run: Path) -> None:
    port = _free_port()
    command = [sys.executable, "-m", "gnoise", "app", str(full_run), "--port", str(port), "--base-url", "x"]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        assert f"Showing 1 run at http://127.0.0.1:{port}/x" in server.stderr.readline()
        assert _health(f"http://127.0.0.1:{port}/x/_stcore/health", server) == "ok"
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def _health(url: str, server: "subprocess.Popen[str]") -> str:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.2)
    return f"ended with {server.returncode}"
