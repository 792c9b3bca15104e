"""``gnoise export``: a run's findings as a file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    format: Annotated[
        str, typer.Option("--format", help="json: recommendations; csv or parquet: every estimate.")
    ] = "json",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="recommendations.json, estimates.csv, …"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Export recommendations (JSON) or estimates (CSV, Parquet).

    Example:  gnoise export gpt-docs.gnoise --format json -o recommendations.json
    """
    from gnoise.export import export_run
    from gnoise.runfile import open_run

    path = output or Path("recommendations.json" if format == "json" else f"estimates.{format}")
    with open_run(run) as opened:
        export_run(opened, path, format=format, force=force)
    typer.echo(f"Wrote {path}", err=True)
