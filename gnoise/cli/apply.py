"""``gnoise apply --show``: what was recommended, as code."""

from pathlib import Path
from typing import Annotated

import typer


def apply(
    run: Annotated[Path, typer.Argument(help="Run file, or recommendations.json.", show_default=False)],
    show: Annotated[bool, typer.Option("--show", help="Print the code; nothing is run.")] = False,
    loop: Annotated[str, typer.Option("--for", help="Training script: torch, trainer or lightning.")] = "torch",
) -> None:
    """Print the code that puts a run's recommendations into a training script.

    Example:  gnoise apply --show gpt-docs.gnoise --for trainer
    """
    from gnoise.errors import UserError
    from gnoise.remedies.by_hand import by_hand

    if not show:
        raise UserError(
            "expected --show, since recommendations take effect inside a training script, got none; "
            f"try gnoise apply --show {run}, or gnoise.apply({str(run)!r}, model, optimizer) in the script"
        )
    typer.echo(by_hand(run, loop=loop), nl=False)
    typer.echo(f"The same in one line: gnoise.apply({str(run)!r}, model, optimizer)", err=True)
