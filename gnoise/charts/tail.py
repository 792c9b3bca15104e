"""One layer's tail: how often its noise is how far out, in both views, beside the laws people know."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, style
from gnoise.charts.empirical import BEYOND, NEAREST, LawLine, View, fitted, views, why_none
from gnoise.charts.laws import cauchy_survival, gaussian_survival, standardised_gaussian_survival
from gnoise.charts.phrases import number
from gnoise.records import SketchSample, Verdict
from gnoise.stats.intervals import Interval

_LINE_POINTS = 150
_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_SKETCH_ERROR = 1.02
_ALWAYS_DRAWN = ("gaussian", "cauchy")
_TABLE_COLUMNS = ["view", "medians", "noise", "share_beyond"]


def tail(sample: SketchSample, verdicts: Sequence[Verdict]) -> Chart:
    """Draw P(|noise| > x) on two logarithmic axes, from the exact counts of the sketch, beside the law that answers.

    Both views are in units of their own median, so that all reference laws meet the data there: across
    entries (all entries pooled) and across draws (each entry first divided by its own scale, where the
    Gaussian to compare with carries that scale's own error).

    The laws that a verdict names, the answer and its runner-up, are fitted and drawn, the answer with the 95% band of
    fits without each block of draws.

    Args:
        sample: of one layer.
        verdicts: of the same layer.
    """
    entries, draws = views(sample)
    if entries is None:
        status = why_none(sample.entries)
        return Chart(style(go.Figure(), 120), f"No tail to draw: {status.advice}.", _table([]))
    drawn = [view for view in (entries, draws) if view is not None]
    finding = _finding(entries, draws, sample.scale_pairs)
    return Chart(_draw(drawn, verdicts, sample.scale_pairs), finding, _table(drawn))


def _draw(drawn: Sequence[View], verdicts: Sequence[Verdict], scale_pairs: int) -> go.Figure:
    figure = go.Figure()
    far = max(20.0, *(float(view.medians[-1]) for view in drawn)) * 1.3
    x = np.geomspace(NEAREST, far, _LINE_POINTS)
    figure.add_trace(_line("Gaussian", x, gaussian_survival(x), "dot", GREY))
    if len(drawn) > 1:
        share = standardised_gaussian_survival(x, scale_pairs)
        figure.add_trace(_line("Gaussian, own scale measured", x, share, "dot", _ORANGE))
    figure.add_trace(_line("Cauchy", x, cauchy_survival(x), "dash", GREY))
    for view, colour in zip(drawn, (_BLUE, _ORANGE), strict=False):
        _draw_laws(figure, view, next((v for v in verdicts if v.question == view.question), None), x, colour)
        figure.add_trace(
            go.Scatter(
                x=view.medians,
                y=view.share,
                name=view.name,
                mode="lines",
                line={"width": 2.5, "color": colour},
                hovertemplate="%{y:.2g} of values beyond %{x:.3g} medians",
            )
        )
    smallest = min(1.0 / view.values for view in drawn)
    grid = {"type": "log", "gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    ends = np.log10([2.0 * NEAREST, far]).tolist()
    across = {"range": ends, "tickvals": _ticks(far), "title": "|noise|, in medians of |noise|"}
    down = {"range": [float(np.log10(smallest)) - 0.1, 0.15], "title": "share beyond", "dtick": 1}
    figure.update_xaxes(grid | across)
    figure.update_yaxes(grid | down | {"exponentformat": "power"})
    corner = {"x": 0.01, "y": 0.02, "xanchor": "left", "yanchor": "bottom"}
    figure.update_layout(legend=corner | {"traceorder": "reversed", "bgcolor": "rgba(0, 0, 0, 0)"})
    return style(figure, 360)


def _draw_laws(
    figure: go.Figure, view: View, verdict: Verdict | None, x: Float[np.ndarray, " points"], colour: str
) -> None:
    """Draw the law that answers with its band, and the one that nearly did, where they are not drawn anyway."""
    if verdict is None or verdict.answer is None:
        return
    if verdict.runner_up and verdict.runner_up not in _ALWAYS_DRAWN:
        line = fitted(view, verdict.runner_up, x)
        figure.add_trace(_line(f"next best: {line.name}", x, line.share, "longdash", colour, opacity=0.6))
    if verdict.answer not in _ALWAYS_DRAWN:
        line = fitted(view, verdict.answer, x)
        _draw_band(figure, x, line, colour)
        figure.add_trace(_line(line.name, x, line.share, "dashdot", colour))


def _draw_band(figure: go.Figure, x: Float[np.ndarray, " points"], line: LawLine, colour: str) -> None:
    seen = line.low > 0.0  # a share of 0 has no logarithm
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([x[seen], x[seen][::-1]]),
            y=np.concatenate([line.high[seen], line.low[seen][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=colour.replace("rgb", "rgba").replace(")", ", 0.2)"),
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _ticks(far: float) -> list[float]:
    """Label every decade, and 2 and 5 between where there are few."""
    decades = int(np.log10(far)) + 1
    steps = (1.0, 2.0, 5.0) if decades <= 3 else (1.0,)
    return [step * 10.0**decade for decade in range(-1, decades) for step in steps]


def _line(
    name: str,
    x: Float[np.ndarray, " points"],
    share: Float[np.ndarray, " points"],
    dash: str,
    colour: str,
    *,
    opacity: float = 1.0,
) -> go.Scatter:
    # A share of 0 has no logarithm: the line ends there.
    drawn = share > 0.0
    return go.Scatter(
        x=x[drawn],
        y=share[drawn],
        name=name,
        mode="lines",
        hoverinfo="skip",
        opacity=opacity,
        line={"width": 1.5, "dash": dash, "color": colour},
    )


def _finding(entries: View, draws: View | None, scale_pairs: int) -> str:
    rarity = _rarity(entries if draws is None else min(entries, draws, key=lambda view: view.values))
    far = _beyond(entries, rarity)
    gaussian, cauchy = _reach(gaussian_survival, rarity), _reach(cauchy_survival, rarity)
    first = (
        f"One noise entry in {rarity:,} is beyond {_interval(far)} medians (Gaussian {number(gaussian)}, "
        f"Cauchy {number(cauchy)})"
    )
    if draws is None:
        return f"{first}; there are too few draws to divide each entry by its own scale."
    own = _beyond(draws, rarity)
    reference = _reach(lambda x: standardised_gaussian_survival(x, scale_pairs), rarity)
    second = f"with each entry divided by its own scale, {_interval(own)} (Gaussian {number(reference)})"
    conclusion = _conclusion(far.low > gaussian * _SKETCH_ERROR, own.low > reference * _SKETCH_ERROR)
    return f"{first}; {second}: {conclusion}."


def _conclusion(heavy_entries: bool, heavy_draws: bool) -> str:
    if heavy_draws:
        return "the noise itself has a heavier tail than a Gaussian"
    if heavy_entries:
        return "what looks heavy across entries is unequal scales, not the noise itself"
    return "no tail heavier than a Gaussian is seen"


def _beyond(view: View, rarity: int) -> Interval:
    return view.quantiles(np.array([1.0 / rarity]))[0]


def _rarity(view: View) -> int:
    """Choose the rarest level that still has enough values beyond it."""
    return next(rarity for rarity in (1000, 100, 10) if view.values >= rarity * BEYOND)


def _reach(survival: Callable[[np.ndarray], np.ndarray], rarity: int) -> float:
    """Find what one value in ``rarity`` of a law lies beyond, in medians."""
    x = np.geomspace(0.5, 1e4, 4000)
    return float(np.exp(np.interp(-1.0 / rarity, -survival(x), np.log(x))))


def _interval(found: Interval) -> str:
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def _table(drawn: Sequence[View]) -> pd.DataFrame:
    rows = [
        (view.name, float(medians), float(medians * view.median), float(share))
        for view in drawn
        for medians, share in zip(view.medians, view.share, strict=True)
    ]
    return pd.DataFrame(rows, columns=_TABLE_COLUMNS)
