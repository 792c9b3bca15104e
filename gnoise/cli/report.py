"""``gnoise report``: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="RUN's name.html")
    ] = None,
    no_js: Annotated[bool, typer.Option("--no-js", help="Still pictures, for viewers that block JavaScript.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a run as one HTML file that opens from disk, fetches nothing, and prints.

    Example:  gnoise report gpt-docs.gnoise -o gpt-docs.html
    """
    from gnoise.export.report import write_report
    from gnoise.runfile import open_run

    path = output or run.with_suffix(".html")
    with open_run(run) as opened:
        write_report(opened, path, scripts=not no_js, force=force)
    typer.echo(f"Wrote {path}", err=True)
