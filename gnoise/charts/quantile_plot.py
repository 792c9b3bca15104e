"""One layer's noise against a Gaussian, quantile by quantile."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, style
from gnoise.charts.empirical import BEYOND, LawLine, View, fitted, views, why_none
from gnoise.charts.laws import gaussian_survival, standardised_gaussian_survival
from gnoise.charts.phrases import number
from gnoise.records import SketchSample, Verdict
from gnoise.stats.intervals import Interval

_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_SHARES = np.geomspace(0.9, 1e-7, 64)
_REACH = np.geomspace(1e-2, 1e6, 4000)
_COLUMNS = ["share_beyond", "gaussian", "measured", "low", "high", "law"]


def quantile_plot(sample: SketchSample, verdicts: Sequence[Verdict]) -> Chart:
    """Draw what each share of |noise| lies beyond against what it would under a Gaussian, in medians.

    Noise is of the view across draws, where each entry was first divided by its own scale, and the Gaussian carries
    that scale's error too; with too few draws for it, of all entries pooled. On the dotted line the two agree; above it
    the noise reaches farther. Error bars are 95% intervals by leaving blocks of draws out.

    Args:
        sample: of one layer.
        verdicts: of the same layer; the law that answers is fitted and drawn.
    """
    entries, draws = views(sample)
    view = draws or entries
    if view is None:
        reason = why_none(sample.entries).advice
        return Chart(style(go.Figure(), 120), f"No quantiles to draw: {reason}.", pd.DataFrame(columns=_COLUMNS))
    shares = _SHARES[BEYOND / view.values <= _SHARES]
    gaussian = _quantiles(_gaussian(view), shares)
    measured = view.quantiles(shares)
    law = _law(view, verdicts)
    fit = None if law is None else _quantiles(law.share, shares)
    figure = _draw(view, law, gaussian, measured, fit)
    return Chart(figure, _finding(view, shares, gaussian, measured), _table(shares, gaussian, measured, fit))


def _gaussian(view: View) -> Float[np.ndarray, " reach"]:
    if view.scale_values is None:
        return gaussian_survival(_REACH)
    return standardised_gaussian_survival(_REACH, view.scale_values)


def _law(view: View, verdicts: Sequence[Verdict]) -> LawLine | None:
    answer = next((v.answer for v in verdicts if v.question == view.question), None)
    return None if answer is None or answer == "gaussian" else fitted(view, answer, _REACH)


def _quantiles(survival: Float[np.ndarray, " reach"], shares: Float[np.ndarray, " levels"]) -> np.ndarray:
    """Invert a survival curve, falling along :data:`_REACH`."""
    return np.exp(np.interp(-shares, -survival, np.log(_REACH)))


def _draw(
    view: View,
    law: LawLine | None,
    gaussian: Float[np.ndarray, " levels"],
    measured: Sequence[Interval],
    fit: Float[np.ndarray, " levels"] | None,
) -> go.Figure:
    figure = go.Figure()
    ends = [float(gaussian.min()), float(gaussian.max())]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="Gaussian", hoverinfo="skip", line={"dash": "dot", "color": GREY}
    )
    if law is not None and fit is not None:
        figure.add_scatter(
            x=gaussian, y=fit, mode="lines", name=law.name, hoverinfo="skip", line={"dash": "dashdot", "color": _ORANGE}
        )
    values = np.array([each.value for each in measured])
    figure.add_scatter(
        x=gaussian,
        y=values,
        name=view.name,
        mode="markers",
        marker={"size": 5, "color": _BLUE},
        error_y={
            "array": np.array([each.high for each in measured]) - values,
            "arrayminus": values - np.array([each.low for each in measured]),
            "color": GREY,
            "thickness": 1,
        },
        hovertemplate="%{y:.3g} medians, Gaussian %{x:.3g}",
    )
    grid = {"type": "log", "gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False, "dtick": "D2"}
    figure.update_xaxes(grid | {"title": "Gaussian |noise|, in medians"})
    figure.update_yaxes(grid | {"title": "|noise|, in medians"})
    figure.update_layout(legend={"x": 0.01, "y": 0.98, "bgcolor": "rgba(0, 0, 0, 0)"})
    return style(figure, 360)


def _finding(
    view: View,
    shares: Float[np.ndarray, " levels"],
    gaussian: Float[np.ndarray, " levels"],
    measured: Sequence[Interval],
) -> str:
    last = measured[-1]
    reach = f"{number(last.value / gaussian[-1])} times ({number(last.low / gaussian[-1])} to"
    return (
        f"The outermost quantile that can be told, one value in {1.0 / shares[-1]:,.0f} {view.name}, lies {reach} "
        f"{number(last.high / gaussian[-1])}) as far out as under a Gaussian."
    )


def _table(
    shares: Float[np.ndarray, " levels"],
    gaussian: Float[np.ndarray, " levels"],
    measured: Sequence[Interval],
    fit: Float[np.ndarray, " levels"] | None,
) -> pd.DataFrame:
    of_law = [None] * shares.size if fit is None else fit
    ends = [(each.value, each.low, each.high) for each in measured]
    rows = [(*each, *end, law) for *each, end, law in zip(shares, gaussian, ends, of_law, strict=True)]
    return pd.DataFrame(rows, columns=_COLUMNS)
