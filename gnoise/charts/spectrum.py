"""One layer's noise as matrices: its largest singular value beside where the bulk ends, pair by pair of draws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, plain, shortened, style, thinned
from gnoise.charts.phrases import number, short
from gnoise.records import Estimate, MatrixSample
from gnoise.stats.localization_verdict import edge_ratios

_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_NAMED, _LABEL = 5, 18
_COLUMNS = ["pair", "largest_singular_value", "bulk_edge", "times_the_edge", "largest_entry_row", "label"]


def spectrum(sample: MatrixSample | None, estimates: Sequence[Estimate], *, labels: Sequence[str] = ()) -> Chart:
    r"""Draw σ₁ of each noise matrix over the edge of its bulk, those farthest out named by their largest entry.

    The edge is $s(\sqrt m + \sqrt n)$ with the entries' own scale s, read from the median singular value: beyond it
    singular values are spikes. The run keeps the largest singular value and the bulk's scale of every pair of draws,
    not the values between.

    Args:
        sample: of one layer; ``None`` for a vector.
        estimates: of the same layer.
        labels: token behind each row; empty where rows are not tokens.
    """
    if sample is None or sample.bulk_scale is None:
        why = "this tensor is no matrix" if sample is None else "this run is of before the bulk was measured"
        return _nothing(why)
    told = np.flatnonzero(sample.bulk_scale > 0.0)
    if not told.size:
        return _nothing("at least half of the singular values are zero, so that there is no bulk")
    times = edge_ratios(sample)[told]
    names = [_name(sample, int(pair), labels) for pair in told]
    table = pd.DataFrame(
        {
            "pair": told,
            "largest_singular_value": sample.spectral[told],
            "bulk_edge": sample.spectral[told] / times,
            "times_the_edge": times,
            "largest_entry_row": [row for row, _ in names],
            "label": [label for _, label in names],
        }
    )
    return Chart(_draw(told, times, names), _finding(estimates, times, names), table)


def _nothing(why: str) -> Chart:
    return Chart(style(go.Figure(), 120), f"No spectrum to draw: {why}.", pd.DataFrame(columns=_COLUMNS))


def _name(sample: MatrixSample, pair: int, labels: Sequence[str]) -> tuple[int | None, str]:
    """Find the row of a pair's largest entry, and the token behind it."""
    if sample.max_position is None:
        return None, ""
    row = int(sample.max_position[pair]) // sample.columns
    return row, labels[row] if row < len(labels) else ""


def _words(name: tuple[int | None, str]) -> str:
    row, label = name
    if row is None:
        return "a row that was not recorded"
    return f"row {row} {shortened(label, _LABEL)!r}" if label else f"row {row}"


def _draw(pairs: np.ndarray, times: Float[np.ndarray, " pairs"], names: Sequence[tuple[int | None, str]]) -> go.Figure:
    figure = go.Figure()
    farthest = np.argsort(-times, kind="stable")[:_NAMED]
    for places, colour, marker in ((thinned(times), _BLUE, "circle"), (farthest, _ORANGE, "diamond")):
        figure.add_scatter(
            x=pairs[places],
            y=times[places],
            mode="markers",
            marker={"color": colour, "symbol": marker, "size": 7},
            text=[plain(f"largest entry in {_words(names[place])}") for place in places],
            hovertemplate="pair %{x}: %{y:.3g} times the edge, %{text}<extra></extra>",
        )
    figure.add_hline(y=1.0, line={"color": GREY, "dash": "dot", "width": 1.5})
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "pair of draws"})
    figure.update_yaxes(grid | {"title": "σ₁ over the bulk's edge", "rangemode": "tozero"})
    figure.update_layout(showlegend=False)
    return style(figure, 360)


def _finding(
    estimates: Sequence[Estimate], times: Float[np.ndarray, " pairs"], names: Sequence[tuple[int | None, str]]
) -> str:
    farthest = int(np.argmax(times))
    found = {each.quantity: each for each in estimates if each.value is not None}
    parts = [
        f"The largest singular value is beyond the edge of the bulk in {np.count_nonzero(times > 1.0)} of "
        f"{times.size} pairs of draws"
    ]
    if "spectral_edge_ratio" in found:
        parts.append(f"on average it is {short(found['spectral_edge_ratio'])} times that edge")
    if "permuted_ratio" in found:
        parts.append(f"{short(found['permuted_ratio'])} times that of the same entries in random order")
    named = _words(names[farthest])
    return f"{'; '.join(parts)}; farthest out is {number(float(times[farthest]))}, its largest entry in {named}."
