"""One layer's averaging curve: how the noise narrows as more draws are averaged."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, style
from gnoise.charts.phrases import number
from gnoise.records import Estimate
from gnoise.stats.averaging import AveragingCurve, averaging_curve, moving_coordinates, pair_noise
from gnoise.stats.intervals import jackknife

_BLUE, _BAND = "rgb(43, 140, 190)", "rgba(43, 140, 190, 0.25)"
_COLUMNS = ["draws averaged", "spread", "low", "high", "Gaussian", "Cauchy"]


def averaging(values: Float[np.ndarray, "draws coords"], estimates: Sequence[Estimate]) -> Chart:
    """Draw the spread of means of k draws against k, between the Gaussian and the Cauchy line.

    Spread is the median |mean of k| over coordinates, each in units of its own scale, and is 1 at k = 1. The
    band is the 95% interval by blocks of draws.

    Args:
        values: gradient entries of one layer, the same in every draw.
        estimates: of the same layer.
    """
    curve = _curve(values)
    slope = next((e for e in estimates if e.quantity == "averaging_slope"), None)
    if curve is None:
        reason = "there are too few draws or moving entries" if slope is None else slope.status.advice
        return Chart(style(go.Figure(), 120), f"No averaging curve to draw: {reason}.", pd.DataFrame(columns=_COLUMNS))
    table = _table(curve)
    return Chart(_draw(table), _finding(slope, curve), table)


def _curve(values: Float[np.ndarray, "draws coords"]) -> AveragingCurve | None:
    finite = bool(np.isfinite(values).all())
    noise = pair_noise(values[:, moving_coordinates(values)]) if finite else None
    return None if noise is None or noise.shape[1] == 0 else averaging_curve(noise)


def _table(curve: AveragingCurve) -> pd.DataFrame:
    size = curve.sizes.astype(np.float64)
    fall = curve.spread[:, 0] - curve.spread[0, 0]
    left_out = curve.left_out[:, :, 0] - curve.left_out[:, :1, 0]
    ends = [jackknife(left_out[:, place], float(fall[place])) for place in range(size.size)]
    columns = [size, 2.0**fall, [2.0**e.low for e in ends], [2.0**e.high for e in ends], size**-0.5, np.ones(size.size)]
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))


def _draw(table: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    k = table["draws averaged"].to_numpy()
    for name, dash in (("Cauchy", "dash"), ("Gaussian", "dot")):
        figure.add_trace(_line(name, k, table[name].to_numpy(), dash))
    for end, fill in (("low", None), ("high", "tonexty")):
        figure.add_trace(
            go.Scatter(
                x=k,
                y=table[end],
                mode="lines",
                line={"width": 0},
                fill=fill,
                fillcolor=_BAND,
                hoverinfo="skip",
                showlegend=False,
            )
        )
    figure.add_trace(
        go.Scatter(
            x=k,
            y=table["spread"],
            name="this layer",
            mode="lines+markers",
            line={"width": 2.5, "color": _BLUE},
            hovertemplate="means of %{x} draws spread %{y:.3g} times as far<extra></extra>",
        )
    )
    grid = {"type": "log", "gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "draws averaged", "tickvals": k.tolist()})
    figure.update_yaxes(grid | {"title": "spread of the mean", "dtick": float(np.log10(2.0)), "tickformat": ".2g"})
    figure.update_layout(legend={"x": 0.01, "y": 0.02, "yanchor": "bottom", "bgcolor": "rgba(0, 0, 0, 0)"})
    return style(figure, 360)


def _line(name: str, x: Float[np.ndarray, " sizes"], y: Float[np.ndarray, " sizes"], dash: str) -> go.Scatter:
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", hoverinfo="skip", line={"width": 1.5, "dash": dash, "color": GREY}
    )


def _finding(slope: Estimate | None, curve: AveragingCurve) -> str:
    largest = int(curve.sizes[-1])
    reached = float(2.0 ** (curve.spread[-1, 0] - curve.spread[0, 0]))
    if slope is None or slope.value is None or slope.low is None or slope.high is None:
        return f"The mean of {largest} draws spreads {number(reached)} times as far as one draw."
    ends = f"95% interval {number(slope.low)} to {number(slope.high)}"
    return (
        f"The mean of {largest} draws spreads {number(reached)} times as far as one draw (Gaussian "
        f"{number(largest**-0.5)}, Cauchy 1): it narrows as k^{slope.value:.2f} ({ends})."
    )
