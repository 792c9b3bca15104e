"""What the terminal shows: talk to stderr, results to stdout."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gnoise.charts.batch_cost import batch_table
from gnoise.charts.ladder import ladder_sentence, ladder_table
from gnoise.charts.phrases import compact
from gnoise.charts.summary import Summary
from gnoise.charts.trial import TABLE_TITLES, state_words, trial_about, trial_line, trial_sentences, trial_table
from gnoise.records import Estimate, Evidence, Layer, Recommendation, Remedy, RunInfo
from gnoise.trial_records import Trial

if TYPE_CHECKING:
    from gnoise.trials import Progress as TrialProgress

_PIPE_WIDTH = 120
_LABEL = 7
_LINES = 19
"""Of verdict, why and next together: what is seen at once of a terminal of 24 lines."""
_WIDE = 100
"""Columns of a terminal in which the table has all of its own."""
_ROWS = 8
_COLUMNS = (
    ("b_simple", "noise scale"),
    ("alpha_entries", "α entries"),
    ("alpha_draws", "α draws"),
    ("averaging_slope", "averaging"),
    ("spike_ratio", "spikes"),
)
_OF_NARROW = ("b_simple", "alpha_draws")


def result_console() -> Console:
    """Console on stdout; wide enough for a table when piped."""
    return _console(stderr=False)


def talk_console(*, quiet: bool = False) -> Console:
    """Console on stderr, silent with ``-q``."""
    return _console(stderr=True, quiet=quiet)


def _console(*, stderr: bool, quiet: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, quiet=quiet, width=width, highlight=False, soft_wrap=False)


@contextmanager
def draws_progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show one bar with the time left; still and silent without a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("draws"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Drawing gradients", total=total)
        yield lambda: progress.advance(task)


@contextmanager
def trial_progress(console: Console) -> Iterator[Callable[["TrialProgress"], None]]:
    """Show the training under way with its difference to no remedy, and one line for each that has ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Loading", total=None)

        def on_progress(at: "TrialProgress") -> None:
            if at.ended is not None:
                console.print(trial_line(at.trial, at.ended))
            else:
                bar.update(task, description=f"{at.arm}, seed {at.seed}", completed=at.step, total=at.steps)

        yield on_progress


def print_trial(console: Console, trial: Trial) -> None:
    """Print what a trial found: one sentence, one row an arm, and what it was."""
    first, *others = trial_sentences(trial)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=7, style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("Verdict", Text(first, style="bold"))
    for number, line in enumerate(others):
        grid.add_row("" if number else "Beside", Text(line))
    state = state_words(trial)
    grid.add_row("Trial", Text(f"{trial_about(trial)}{'; ' + state if state else ''}"))
    console.print(grid)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in TABLE_TITLES:
        table.add_column(title, overflow="fold")
    for row in trial_table(trial):
        table.add_row(*(Text(cell) for cell in row))
    console.print(Padding(table, (1, 0, 0, 0)))
    console.print(
        "tokens saved on the way to the same loss, with 95% intervals, read off the arm with 10% more steps; "
        "predicted: progress a step, by the run's evidence",
        style="dim",
    )


def print_summary(console: Console, summary: Summary, *, more: str = "") -> None:
    """Print Verdict / Why / Next, on one screen where there is a command that shows the rest.

    Args:
        console: to print on; its width says how many lines there are.
        summary: what to print.
        more: command that prints what was folded away; empty to fold nothing.
    """
    why = _folded(console, summary, more) if more else summary.why
    for title, lines in (("Verdict", (summary.headline,)), ("Why", why), ("Next", summary.next)):
        for number, line in enumerate(lines):
            label = title if number == 0 else ""
            row = Table.grid(padding=(0, 1))
            row.add_column(width=_LABEL, style="bold", no_wrap=True)
            row.add_column(overflow="fold")
            row.add_row(label, Text(line, style="bold" if title == "Verdict" else ""))
            console.print(row)


def _folded(console: Console, summary: Summary, more: str) -> tuple[str, ...]:
    """Keep as many reasons, the first ones, as leave the whole within a screen."""
    room = _LINES - _height(console, (summary.headline, *summary.next))
    if _height(console, summary.why) <= room:
        return summary.why
    kept = len(summary.why) - 1
    while kept > 1 and _height(console, summary.why[:kept]) >= room:
        kept -= 1
    left = len(summary.why) - kept
    return (*summary.why[:kept], f"… {left} more: {more}")


def _height(console: Console, lines: Sequence[str]) -> int:
    """Count the lines on the screen, a label of seven and a blank before each."""
    return sum(len(Text(line).wrap(console, console.width - _LABEL - 1)) for line in lines)


def layer_table(
    layers: Sequence[Layer],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
    *,
    rows: int = _ROWS,
    width: int = _PIPE_WIDTH,
) -> Table:
    """Table of the layers that matter: those with a remedy first, then the noisiest; fewer columns where narrow."""
    columns = [each for each in _COLUMNS if width >= _WIDE or each[0] in _OF_NARROW]
    by_key = {(e.layer, e.quantity): e for e in estimates}
    remedies = {r.layer: r for r in recommendations}
    chosen = sorted(layers, key=lambda layer: _importance(layer, by_key, remedies), reverse=True)[:rows]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("layer", overflow="ellipsis", no_wrap=True, min_width=20, max_width=40 if width >= _WIDE else 36)
    for _, title in columns:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    table.add_column("remedy", no_wrap=True, min_width=12)
    for layer in chosen:
        cells = [
            compact(by_key.get((layer.name, quantity)), signed=quantity == "averaging_slope") for quantity, _ in columns
        ]
        remedy = remedies.get(layer.name)
        table.add_row(Text(layer.name), *cells, "–" if remedy is None else str(remedy.remedy))
    return table


def print_layers(
    console: Console,
    layers: Sequence[Layer],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
    *,
    every: bool = False,
) -> None:
    """Print the table of layers, how many it leaves out, and what its numbers are."""
    rows = len(layers) if every else _ROWS
    console.print(
        Padding(layer_table(layers, estimates, recommendations, rows=rows, width=console.width), (1, 0, 0, 0))
    )
    left = f"… and {len(layers) - rows} more layers; " if len(layers) > rows else ""
    console.print(f"{left}± is the larger half of the 95% interval", style="dim")


def print_batch_cost(console: Console, info: RunInfo, estimates: Sequence[Estimate]) -> None:
    """Print what half to eight times the present batch costs; nothing without a noise scale of the whole model."""
    scale = next((e for e in estimates if e.layer is None and e.quantity == "b_simple"), None)
    if scale is None:
        return
    rows = batch_table(info, scale)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in rows.columns:
        table.add_column(str(title), overflow="fold")
    for row in rows.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(Padding(table, (1, 0, 0, 0)))
    console.print(
        "to the same loss, times now, with 95% intervals, each batch at its own best learning rate; by B_simple, which "
        "is not the measured critical batch",
        style="dim",
    )


def print_ladder(console: Console, evidence: Sequence[Evidence], layer: str | None, info: RunInfo) -> None:
    """Print what each remedy would have bought, best first, a larger batch last, and one sentence."""
    rows = ladder_table(evidence, layer=layer)
    if rows:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for title in ("remedy", "setting", "gain (95% interval)", "bias floor", "as a batch"):
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(Padding(table, (1, 0, 0, 0)))
    console.print(Text(ladder_sentence(evidence, layer=layer, info=info)))


def _importance(
    layer: Layer, by_key: dict[tuple[str | None, str], Estimate], remedies: dict[str | None, Recommendation]
) -> tuple[bool, float]:
    remedy = remedies.get(layer.name)
    scale = by_key.get((layer.name, "trace_cov"))
    return (
        remedy is not None and remedy.remedy is not Remedy.NONE,
        scale.value if scale is not None and scale.value is not None else 0.0,
    )
