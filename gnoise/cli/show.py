"""``gnoise show``: what a run found."""

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[Path, typer.Argument(help="Run file made by gnoise profile.", show_default=False)],
    layer: Annotated[
        str | None, typer.Argument(help="One layer, by name; the whole run without.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every reason, every layer, and what other batches cost.")
    ] = False,
) -> None:
    """Show a run's verdict and the layers that matter on one screen, all of it, or every number of one layer.

    Example:  gnoise show gpt-docs.gnoise transformer.wte.weight
    """
    if json:
        _print_json(run, layer)
    elif layer is None:
        show_run(run, every=every)
    else:
        _show_layer(run, layer)


def show_run(path: Path, *, every: bool = False) -> None:
    """Print verdict and layer table of a run file to stdout.

    Args:
        path: of the run file.
        every: fold nothing, and add what other batches cost.
    """
    import shlex

    from gnoise.charts.summary import summary
    from gnoise.cli.output import print_batch_cost, print_layers, print_summary, result_console
    from gnoise.runfile import open_run

    with open_run(path) as run:
        estimates, recommendations = run.estimates, run.recommendations
        console = result_console()
        print_summary(
            console,
            summary(run.info, estimates, run.verdicts, recommendations, run.evidence, run=str(path), state=run.state),
            more="" if every else f"gnoise show {shlex.quote(str(path))} --all",
        )
        print_layers(console, run.layers, estimates, recommendations, every=every)
        if every:
            print_batch_cost(console, run.info, estimates)


def _print_json(path: Path, layer: str | None) -> None:
    from gnoise.export import layer_document, show_document, to_json
    from gnoise.runfile import open_run

    with open_run(path) as run:
        document = show_document(run) if layer is None else layer_document(run, run.layer(layer))
    print(to_json(document))


def _show_layer(path: Path, name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from gnoise.charts.answers import answer_sentence
    from gnoise.charts.phrases import short
    from gnoise.charts.tables import call
    from gnoise.cli.output import print_ladder, result_console
    from gnoise.quantities import QUANTITIES
    from gnoise.runfile import open_run

    with open_run(path) as run:
        layer = run.layer(name)
        estimates = [e for e in run.estimates if e.layer == layer.name]
        verdicts = [v for v in run.verdicts if v.layer == layer.name]
        evidence, info = run.evidence, run.info
        recommendation = next((r for r in run.recommendations if r.layer == layer.name), None)
    console = result_console()
    shape = " × ".join(str(side) for side in layer.shape)
    console.print(Text(f"{layer.name}  {layer.kind}, {shape}", style="bold"))
    for other in layer.owners[1:]:
        console.print(Text(f"tied with {other}", style="dim"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("quantity", "value (95% interval)", "n", "note"):
        table.add_column(title, overflow="fold")
    for e in estimates:
        quantity = QUANTITIES[e.quantity]
        note = e.note if e.status == "ok" else f"{e.status.advice}{'; ' + e.note if e.note else ''}"
        words = f"{quantity.words} ({quantity.symbol})" if quantity.symbol else quantity.words
        table.add_row(words, short(e), str(e.n), Text(note))
    console.print(table)
    for verdict in verdicts:
        console.print(Text(answer_sentence(verdict)))
    print_ladder(console, evidence, layer.name, info)
    if recommendation is not None:
        name = call(recommendation) if recommendation.params else str(recommendation.remedy)
        console.print(Text(name, style="bold"))
        console.print(Text(recommendation.reason))
        if recommendation.unless:
            console.print(Text(f"What would change this: {recommendation.unless}", style="dim"))
