"""``gnoise compare``: what changed between runs."""

from pathlib import Path
from typing import Annotated

import typer

from gnoise.errors import UserError

_ROWS = 12


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run files: every other is compared with the first.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")] = False,
) -> None:
    """Say what changed between checkpoints of one training, or between runs, with intervals.

    Profile all with the same data, seed, draws and batch size: losses and noise scales are then compared in pairs.

    Example:  gnoise compare early.gnoise late.gnoise
    """
    if len(runs) < 2:
        raise UserError(f"expected two run files or more, got {len(runs)}; try gnoise compare {runs[0]} OTHER.gnoise")
    first, *others = runs
    if json:
        _print_json(first, others)
        return
    for other in others:
        _print(first, other)


def _print(first: Path, second: Path) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from gnoise.charts.changes import TITLES, change_rows, changes_headline
    from gnoise.cli.output import result_console
    from gnoise.runfile.compare import compare as compare_runs

    changes = compare_runs(first, second)
    console = result_console()
    console.print(Text(f"{first} → {second}", style="dim"))
    console.print(Text(changes_headline(changes), style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, title in enumerate(TITLES):
        table.add_column(title, overflow="fold" if number else "ellipsis", no_wrap=not number, max_width=40)
    for row in change_rows(changes, layers=_ROWS):
        table.add_row(*(Text(cell) for cell in row))
    console.print(Padding(table, (1, 0, 0, 0)))
    console.print("of each layer its surest change; every number with its interval: --json", style="dim")


def _print_json(first: Path, others: list[Path]) -> None:
    from dataclasses import asdict

    from gnoise.export import to_json
    from gnoise.records import JsonValue
    from gnoise.runfile.compare import compare as compare_runs

    pairs: list[JsonValue] = [
        {
            "first": str(first),
            "second": str(other),
            "changes": [{**asdict(each), "status": str(each.status)} for each in compare_runs(first, other)],
        }
        for other in others
    ]
    print(to_json({"format": "gnoise.compare", "version": 1, "pairs": pairs}))
