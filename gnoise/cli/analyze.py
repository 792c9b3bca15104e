"""``gnoise analyze``: fit again from the samples, without the model and without torch."""

from pathlib import Path
from typing import Annotated

import typer


def analyze(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the result.")] = False,
) -> None:
    """Refit a run's statistics and recommendations from its samples.

    Example:  gnoise analyze gpt-docs.gnoise
    """
    from gnoise.cli.show import show_run
    from gnoise.runfile.analyze import analyze as analyze_run

    analyze_run(run)
    show_run(run)
    if not quiet:
        typer.echo(f"Wrote {run}", err=True)
