"""Where one layer's noise sits: the share of its energy in each row, beside an even share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, plain, shortened, style
from gnoise.charts.phrases import number
from gnoise.records import Estimate, MatrixSample

_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_NAMED, _POINTS, _LABEL = 5, 2_000, 18
_COLUMNS = ["row", "label", "share", "times_even"]


def row_energy(sample: MatrixSample | None, estimates: Sequence[Estimate], *, labels: Sequence[str] = ()) -> Chart:
    """Draw each row's share of the noise energy, in units of an even share, the loudest rows marked.

    Energies are of noise winsorised at three times its median magnitude, averaged over pairs of draws, so that a
    heavy tail does not pass for a loud row. Of many rows the loudest 2,000 are drawn; the table has the same.

    Args:
        sample: of one layer; ``None`` for a vector.
        estimates: of the same layer.
        labels: token behind each row; empty where rows are not tokens.
    """
    shares = None if sample is None else _shares(sample)
    if sample is None or shares is None:
        why = "this tensor has no rows" if sample is None else "no noise was seen"
        return Chart(style(go.Figure(), 120), f"No rows to draw: {why}.", pd.DataFrame(columns=_COLUMNS))
    times = shares * shares.size
    order = np.argsort(-times, kind="stable")
    kept = np.sort(order[:_POINTS])
    names = [labels[row] if row < len(labels) else "" for row in range(shares.size)]
    table = pd.DataFrame(
        {
            "row": kept,
            "label": [names[row] for row in kept],
            "share": shares[kept],
            "times_even": times[kept],
        }
    )
    return Chart(_draw(kept, times, order[:_NAMED], names), _finding(times, order, names, estimates), table)


def _shares(sample: MatrixSample) -> Float[np.ndarray, " rows"] | None:
    energy = sample.row_energy[sample.row_energy.sum(1) > 0.0].astype(np.float64)
    if energy.size == 0 or not np.isfinite(energy).all():
        return None
    return (energy / energy.sum(1, keepdims=True)).mean(0)


def _draw(kept: np.ndarray, times: Float[np.ndarray, " rows"], loudest: np.ndarray, names: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    figure.add_trace(_points(kept, times, names, _BLUE))
    figure.add_trace(_points(loudest, times, names, _ORANGE, marked=True))
    figure.add_hline(y=1.0, line={"color": GREY, "dash": "dot", "width": 1.5})
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "row"})
    # Rows that saw no gradient at all have a share of 0, which has no logarithm: they are drawn at the floor.
    floor = float(np.min(times[times > 0.0], initial=1.0))
    ends = [np.log10(max(floor, 1e-4)) - 0.1, np.log10(times.max()) + 0.35]
    figure.update_yaxes(grid | {"type": "log", "range": ends, "dtick": 1, "title": "noise energy, 1 is an even share"})
    figure.update_layout(showlegend=False)
    return style(figure, 360)


def _points(
    rows: np.ndarray, times: Float[np.ndarray, " rows"], names: Sequence[str], colour: str, *, marked: bool = False
) -> go.Scatter:
    chosen = [(int(row), names[int(row)]) for row in rows]
    said = [plain(f"row {row} {shortened(name, _LABEL)!r}" if name else f"row {row}") for row, name in chosen]
    return go.Scatter(
        x=rows,
        y=np.maximum(times[rows], 1e-12),
        text=said,
        mode="markers",
        marker={"size": 7 if marked else 4, "color": colour, "symbol": "diamond" if marked else "circle"},
        hovertemplate="%{text}: %{y:.3g} times an even share<extra></extra>",
    )


def _finding(
    times: Float[np.ndarray, " rows"], order: np.ndarray, names: Sequence[str], estimates: Sequence[Estimate]
) -> str:
    loudest = int(order[0])
    top = order[: max(1, times.size // 100)]
    name = f" {names[loudest]!r}" if names[loudest] else ""
    share = float(times[top].sum() / times.sum())
    many = f"{top.size} of {times.size} rows" if top.size > 1 else f"one of {times.size} rows"
    first = f"The loudest 1% ({many}) hold {share:.1%} of the noise energy"
    second = f"row {loudest}{name} has {number(float(times[loudest]))} times an even share"
    dispersion = next((e for e in estimates if e.quantity == "row_dispersion" and e.value is not None), None)
    if dispersion is None or dispersion.value is None:
        return f"{first}; {second}."
    return f"{first}; {second}; rows differ {number(dispersion.value)} times as much as chance makes them."
