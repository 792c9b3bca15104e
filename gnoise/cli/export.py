"""``gnoise export``: a run's findings as a file."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from gnoise.errors import UserError

_FILES = {"json": "recommendations.json", "schedule": "schedule.json"}


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run file made by gnoise profile; for a schedule, one a checkpoint.", show_default=False),
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format", help="json: recommendations; csv or parquet: every estimate; schedule: batch size over tokens."
        ),
    ] = "json",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="recommendations.json, estimates.csv, …"),
    ] = None,
    lowest: Annotated[
        float | None,
        typer.Option("--lowest", help="Smallest batch of a schedule, in examples.", show_default="the present one"),
    ] = None,
    highest: Annotated[
        float | None,
        typer.Option("--highest", help="Largest batch of a schedule.", show_default="the largest noise scale"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Export recommendations (JSON), estimates (CSV, Parquet) or a batch schedule that follows the noise scale.

    Example:  gnoise export early.gnoise late.gnoise --format schedule -o schedule.json
    """
    path = output or Path(_FILES.get(format, f"estimates.{format}"))
    if format == "schedule":
        _export_schedule(runs, path, lowest=lowest, highest=highest, force=force)
    else:
        _export_run(runs, path, format=format, bounded=lowest is not None or highest is not None, force=force)
    typer.echo(f"Wrote {path}", err=True)


def _export_run(runs: list[Path], path: Path, *, format: str, bounded: bool, force: bool) -> None:
    from gnoise.export import export_run
    from gnoise.runfile import open_run

    if len(runs) > 1 or bounded:
        raise UserError(
            f"expected one run file and no bounds with --format {format}, got {len(runs)}; "
            f"try gnoise export {runs[0]} --format {format}, or --format schedule"
        )
    with open_run(runs[0]) as opened:
        export_run(opened, path, format=format, force=force)


def _export_schedule(runs: list[Path], path: Path, *, lowest: float | None, highest: float | None, force: bool) -> None:
    from gnoise.export.schedules import export_schedule
    from gnoise.runfile import open_run

    with ExitStack() as stack:
        opened = [stack.enter_context(open_run(run)) for run in runs]
        said = export_schedule(opened, path, lowest=lowest, highest=highest, force=force)
    for line in said:
        typer.echo(line, err=True)
