"""``gnoise app``: the dashboard, in a browser."""

import json
import os
import socket
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from gnoise.errors import ExitCode, UserError

ADDRESS = "127.0.0.1"
RUNS_VARIABLE = "GNOISE_APP_RUNS"
"""Hands the run files over: a JSON list of paths."""
_FIRST_PORT, _PORTS = 8501, 20
_FIRST_PAGE = ("pandas", "plotly.graph_objects", "gnoise.charts.heat_map", "gnoise.charts.summary")


def app(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run files; without any, those of the current folder.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=1, max=65535, help="Port; the first free one from 8501 on by default."),
    ] = None,
    base_url: Annotated[
        str, typer.Option("--base-url", help="Path prefix behind a proxy, e.g. /gnoise.", show_default=False)
    ] = "",
) -> None:
    """Look at runs in a browser.

    Example:  gnoise app gpt-docs.gnoise
    """
    paths = _checked(runs) if runs else _in_folder(Path.cwd())
    entry = _entry()
    chosen = _free_port() if port is None else _require_free(port)
    prefix = base_url.strip("/")
    os.environ[RUNS_VARIABLE] = json.dumps([str(path.resolve()) for path in paths])

    import streamlit as st

    # What the first page needs takes a second to import: better before the address is shown than after it is opened.
    for module in _FIRST_PAGE:
        import_module(module)
    _announce(paths, f"http://{ADDRESS}:{chosen}/{prefix}", chosen)

    st.App(entry).run(
        config={
            "server.address": ADDRESS,
            "server.port": chosen,
            "server.baseUrlPath": prefix,
            "server.headless": True,
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": False,
            "client.toolbarMode": "viewer",
            # A layer is picked by a click on its row as well, which sets what the picker itself starts with.
            "global.disableWidgetStateDuplicationWarning": True,
            "logger.hideWelcomeMessage": True,
            "logger.level": "warning",
        }
    )


def _checked(paths: list[Path]) -> list[Path]:
    """Open each run, so that a wrong one is refused here and not in the browser."""
    from gnoise.runfile import open_run

    for path in paths:
        open_run(path).close()
    return paths


def _in_folder(folder: Path) -> list[Path]:
    from gnoise.runfile import is_run

    found = [path for path in sorted(folder.glob("*.gnoise")) if is_run(path)]
    if not found:
        raise UserError(
            f"expected run files in {folder}, got none; try gnoise profile SOURCE, or gnoise app RUN",
            exit_code=ExitCode.UNREADABLE,
        )
    return found


def _entry() -> Path:
    """Find the app beside this package: inside it in a wheel, next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "_app" / "main.py", package.parent / "app" / "main.py"):
        if candidate.is_file():
            return candidate
    raise UserError(f"expected the dashboard beside {package}, got none; try pip install --force-reinstall gnoise")


def _free_port() -> int:
    last = _FIRST_PORT + _PORTS - 1
    for port in range(_FIRST_PORT, last + 1):
        if _is_free(port):
            return port
    raise UserError(f"expected a free port from {_FIRST_PORT} to {last}, got none; try --port {last + 1}")


def _require_free(port: int) -> int:
    if not _is_free(port):
        raise UserError(f"expected a free port, got {port}, which is in use; try --port {port % 65535 + 1}")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def _announce(paths: list[Path], url: str, port: int) -> None:
    """Say what to open, and on a remote host how to reach it."""
    count = f"{len(paths)} run{'s' if len(paths) != 1 else ''}"
    typer.echo(f"Showing {count} at {url}  (Ctrl-C ends it)", err=True)
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if len(connection) == 4:
        from getpass import getuser

        typer.echo(
            f"On your own machine first:  ssh -N -L {port}:{ADDRESS}:{port} {getuser()}@{connection[2]}",
            err=True,
        )
