"""What a batch buys: steps against examples, as a curve and as a table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, style
from gnoise.charts.phrases import interval, number, plural
from gnoise.charts.tables import advice
from gnoise.records import Estimate, RunInfo
from gnoise.stats.batch_cost import CAVEAT as CAVEAT
from gnoise.stats.batch_cost import TIMES, Purchase, Range, noise_share, present_batch, purchases

_CURVE = np.geomspace(0.25, 16.0, 49)
_BLUE, _ORANGE = "rgb(55, 126, 184)", "rgb(230, 97, 1)"
_TICKS = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
_AXIS = {
    "type": "log",
    "gridcolor": "rgba(127, 127, 127, 0.25)",
    "zeroline": False,
    "tickvals": _TICKS,
    "ticktext": [f"{tick:g}" for tick in _TICKS],
}
_HEIGHT = 340


def batch_cost(info: RunInfo, scale: Estimate) -> Chart:
    """Draw steps against examples to the same loss, times what the present batch takes; that one is marked.

    Args:
        info: of the run.
        scale: the whole model's noise scale.
    """
    present, whose = present_batch(info)
    unit = plural(info.example)
    table = _points(purchases(scale, present, list(present * _CURVE)), unit)
    if scale.value is None:
        return Chart(style(go.Figure(), _HEIGHT), f"What a batch buys cannot be told: {advice(scale)}.", table)
    figure = go.Figure()
    _draw_ends(figure, scale, present)
    _draw_curve(figure, scale, present)
    figure.update_xaxes(_AXIS, title=f"{unit} to the same loss, times now")
    figure.update_yaxes(_AXIS, title="steps, times now")
    figure.update_layout(showlegend=False)
    return Chart(style(figure, _HEIGHT), _finding(scale, present, whose, unit), table)


def batch_table(info: RunInfo, scale: Estimate) -> pd.DataFrame:
    """Price half to eight times the present batch: one row a batch, intervals as text.

    Args:
        info: of the run.
        scale: the whole model's noise scale.
    """
    present, _ = present_batch(info)
    unit = plural(info.example)
    rows: list[dict[str, object]] = []
    for times, each in zip(TIMES, _marks(scale, present), strict=True):
        row: dict[str, object] = {"batch": f"{times:g} × now", unit: number(each.batch)}
        if info.tokens_per_example is not None:
            row["tokens"] = number(each.batch * info.tokens_per_example)
        row |= {
            "steps": _text(each.steps),
            f"{unit} in all": _text(each.examples),
            "learning rate, SGD": _text(each.lr_sgd),
            "learning rate, Adam": _text(each.lr_adam),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _points(curve: Sequence[Purchase], unit: str) -> pd.DataFrame:
    rows = [
        [each.batch, *(end for found in (each.steps, each.examples) for end in (found.value, found.low, found.high))]
        for each in curve
    ]
    names = [f"{what}, {end}" for what in ("steps", f"{unit} in all") for end in ("times now", "low", "high")]
    return pd.DataFrame(rows, columns=["batch", *names])


def _marks(scale: Estimate, present: float) -> list[Purchase]:
    return purchases(scale, present, [present * times for times in TIMES])


def _draw_ends(figure: go.Figure, scale: Estimate, present: float) -> None:
    """Draw the same curve for either end of the noise scale's interval."""
    for end in (scale.low, scale.high):
        if end is not None:
            exact = Estimate(None, scale.quantity, end, end, end, None, scale.n, scale.status)
            _draw_line(figure, purchases(exact, present, list(present * _CURVE)), {"dash": "dot", "color": GREY})


def _draw_curve(figure: go.Figure, scale: Estimate, present: float) -> None:
    _draw_line(figure, purchases(scale, present, list(present * _CURVE)), {"width": 2.5, "color": _BLUE})
    marks = _marks(scale, present)
    figure.add_scatter(
        x=[each.examples.value for each in marks],
        y=[each.steps.value for each in marks],
        mode="markers+text",
        text=["now" if times == 1.0 else f"{times:g}×" for times in TIMES],
        textposition="top right",
        marker={
            "size": [14 if times == 1.0 else 8 for times in TIMES],
            "color": [_ORANGE if times == 1.0 else _BLUE for times in TIMES],
            "symbol": ["diamond" if times == 1.0 else "circle" for times in TIMES],
        },
        hovertext=[f"batch {number(each.batch)}: steps {_text(each.steps)}" for each in marks],
        hoverinfo="text",
    )


def _draw_line(figure: go.Figure, curve: Sequence[Purchase], line: dict[str, object]) -> None:
    figure.add_scatter(
        x=[each.examples.value for each in curve],
        y=[each.steps.value for each in curve],
        mode="lines",
        line=line,
        hoverinfo="skip",
    )


def _finding(scale: Estimate, present: float, whose: str, unit: str) -> str:
    doubled = purchases(scale, present, [2.0 * present])[0]
    share = noise_share(scale.value or 0.0, present)
    caution = f"; {advice(scale)}" if advice(scale) else ""
    return (
        f"At {number(present)} {unit} ({whose}) {share:.0%} of a step's squared gradient is noise (noise scale "
        f"{number(scale.value or 0.0)}, {interval(scale)}{caution}): twice the batch takes {_text(doubled.steps)} "
        f"times the steps and {_text(doubled.examples)} times the {unit} to the same loss."
    )


def _text(found: Range) -> str:
    low, high = f"{found.low:.2f}", f"{found.high:.2f}"
    if found.value is None:
        return f"{low} to {high}"
    return f"{found.value:.2f}" if low == high else f"{found.value:.2f} ({low} to {high})"
