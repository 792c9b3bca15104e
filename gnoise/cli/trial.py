"""``gnoise trial``: check the advice by training both ways."""

import re
from pathlib import Path
from typing import Annotated

import typer

from gnoise.errors import UserError

_WHAT = "What to train"
_HOW = "How"
_OUT = "Output"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def trial(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    arms: Annotated[
        str,
        typer.Option(
            help="Comma-separated: recommended, as_trained, clip, shrink, clip_norm, clip_global_norm, stabilize, "
            "muon, layerwise_lr, or a recommendations.json. No remedy and two anchors are always there.",
            rich_help_panel=_WHAT,
        ),
    ] = "recommended",
    source: Annotated[
        Path | None,
        typer.Option(help="The checkpoint, where it has moved.", rich_help_panel=_WHAT, show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Training data, where they have moved.", rich_help_panel=_WHAT, show_default=False),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="Data to judge by.",
            rich_help_panel=_WHAT,
            show_default="val beside train, held_out beside a function, else every tenth example",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Time to fit into: 90s, 10m, 2h.", rich_help_panel=_HOW, show_default=False),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of a training.", rich_help_panel=_HOW, show_default="200")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="Pairs of trainings at most.", rich_help_panel=_HOW, show_default="5")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Examples of a step.", rich_help_panel=_HOW, show_default="the checkpoint's, else a draw's"
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate that the grid is around.", rich_help_panel=_HOW, show_default="the checkpoint's"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, …", rich_help_panel=_HOW)] = "auto",
    fresh: Annotated[
        bool, typer.Option(help="Begin anew where the same was asked for before.", rich_help_panel=_HOW)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.", rich_help_panel=_OUT)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.", rich_help_panel=_OUT)] = False,
) -> None:
    """Train on from the checkpoint with and without the remedies, and say what they saved.

    Stopped half way, the same command goes on where it was.

    Example:  gnoise trial gpt-docs.gnoise --budget 10m
    """
    from gnoise.cli.output import print_trial, result_console, talk_console, trial_progress
    from gnoise.export import to_json
    from gnoise.export.document import trial_document
    from gnoise.trials import trial as train

    console = talk_console(quiet=quiet)
    names = [name.strip() for name in arms.split(",") if name.strip()]
    seconds = None if budget is None else _seconds(budget)
    with trial_progress(console) as on_progress:
        done = train(
            run,
            arms=names,
            source=source,
            data=data,
            held_out=held_out,
            budget=seconds,
            steps=steps,
            seeds=seeds,
            batch_size=batch_size,
            lr=lr,
            device=device,
            fresh=fresh,
            on_progress=on_progress,
        )
    if json:
        print(to_json(trial_document(done)))
    else:
        print_trial(result_console(), done)
        console.print(f"Wrote {run}")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)
    if match is None or float(match[1]) == 0.0:
        raise UserError(f"expected --budget as a number with s, m or h, got {text!r}; try --budget 10m")
    return float(match[1]) * _UNITS[match[2]]
