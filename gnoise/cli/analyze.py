"""``gnoise analyze``: fit again from the samples, without the model and without torch."""

from pathlib import Path
from typing import Annotated

import typer


def analyze(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    remedies: Annotated[
        str | None,
        typer.Option(help="Judge these alone, e.g. clip,shrink; all without.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the result.")] = False,
) -> None:
    """Refit a run's statistics, evidence and recommendations from its samples.

    Example:  gnoise analyze gpt-docs.gnoise --remedies clip,shrink
    """
    from gnoise.cli.show import show_run
    from gnoise.runfile.analyze import analyze as analyze_run

    chosen = None if remedies is None else [name.strip() for name in remedies.split(",") if name.strip()]
    analyze_run(run, remedies=chosen)
    show_run(run)
    if not quiet:
        typer.echo(f"Wrote {run}", err=True)
