"""One layer's tail: how often its noise is how far out, in both views, beside the laws people know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float, Int

from gnoise.charts.chart import GREY, Chart, style
from gnoise.charts.laws import cauchy_survival, gaussian_survival, standardised_gaussian_survival
from gnoise.charts.phrases import number
from gnoise.records import Sketch, SketchSample, Status, Verdict
from gnoise.stats.intervals import Interval, jackknife
from gnoise.stats.laws import LAWS, fit_law, law_survival
from gnoise.stats.sketch import abs_quantiles, bucket_edges, leave_one_out, merge, total

_POINTS, _LINE_POINTS = 600, 150
_LAST_BUCKETS = 100
_NEAREST = 0.1
_BEYOND = 20
_MAGNITUDE_BITS = (1 << 16) - 1
_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_SKETCH_ERROR = 1.02
_ALWAYS_DRAWN = ("gaussian", "cauchy")
_TABLE_COLUMNS = ["view", "medians", "noise", "share_beyond"]


@dataclass(frozen=True)
class _View:
    """One empirical survival curve: ``share`` of the values is at least ``medians`` medians in size."""

    name: str
    question: str
    sketches: tuple[Sketch, ...]
    scale_values: int | None
    median: float
    medians: Float[np.ndarray, " points"]
    share: Float[np.ndarray, " points"]

    @property
    def values(self) -> int:
        return sum(total(sketch) for sketch in self.sketches)

    def quantile(self, rarity: int) -> Interval:
        """Measure, in medians, what one value in ``rarity`` lies beyond."""
        levels = np.array([0.5, 1.0 - 1.0 / rarity])

        def ratio(sketch: Sketch) -> float:
            middle, far = abs_quantiles(sketch, levels)
            return float(far / middle)

        left_out = np.array([ratio(sketch) for sketch in leave_one_out(self.sketches)])
        full = ratio(merge(self.sketches))
        logs = jackknife(np.log(left_out), float(np.log(full)))
        return Interval(full, full * logs.stderr, float(np.exp(logs.low)), float(np.exp(logs.high)))


def tail(sample: SketchSample, verdicts: Sequence[Verdict]) -> Chart:
    """Draw P(|noise| > x) on two logarithmic axes, from the exact counts of the sketch, beside the law that answers.

    Both views are in units of their own median, so that all reference laws meet the data there: across
    entries (all entries pooled) and across draws (each entry first divided by its own scale, where the
    Gaussian to compare with carries that scale's own error).

    Args:
        sample: of one layer.
        verdicts: of the same layer; the laws they name are fitted and drawn, where they are not drawn anyway.
    """
    entries = _view("across entries", "tails_entries", sample.entries, None)
    if entries is None:
        status = _no_tail(sample.entries)
        return Chart(style(go.Figure(), 120), f"No tail to draw: {status.advice}.", _table([]))
    draws = _view("across draws", "tails_draws", sample.draws, sample.scale_pairs)
    views = [view for view in (entries, draws) if view is not None]
    finding = _finding(entries, draws, sample.scale_pairs)
    return Chart(_draw(views, verdicts, sample.scale_pairs), finding, _table(views))


def _view(name: str, question: str, sketches: Sequence[Sketch], scale_values: int | None) -> _View | None:
    """Turn sketches into a curve; ``None`` where a quantile and its interval would mean nothing."""
    filled = tuple(sketch for sketch in sketches if sketch.counts.size)
    merged = merge(filled)
    if len(filled) < 2 or total(merged) < 10 * _BEYOND:
        return None
    magnitudes, place = np.unique(merged.buckets & _MAGNITUDE_BITS, return_inverse=True)
    counts = np.bincount(place, weights=merged.counts)
    edges, _ = bucket_edges(magnitudes)
    share = np.cumsum(counts[::-1])[::-1] / counts.sum()
    median = float(abs_quantiles(merged, np.array([0.5]))[0])
    kept = _thinned(edges / median)
    return _View(name, question, filled, scale_values, median, edges[kept] / median, share[kept])


def _thinned(medians: Float[np.ndarray, " buckets"]) -> Int[np.ndarray, " points"]:
    """Pick points evenly in log x, and every one of the last buckets, where single values count."""
    start = min(int(np.searchsorted(medians, _NEAREST)), medians.size - 1)
    wanted = np.geomspace(medians[start], medians[-1], _POINTS - _LAST_BUCKETS)
    even = np.minimum(np.searchsorted(medians, wanted), medians.size - 1)
    last = np.arange(max(start, medians.size - _LAST_BUCKETS), medians.size)
    return np.unique(np.concatenate([even, last]))


def _draw(views: Sequence[_View], verdicts: Sequence[Verdict], scale_pairs: int) -> go.Figure:
    figure = go.Figure()
    far = max(20.0, *(float(view.medians[-1]) for view in views)) * 1.3
    x = np.geomspace(_NEAREST, far, _LINE_POINTS)
    figure.add_trace(_line("Gaussian", x, gaussian_survival(x), "dot", GREY))
    if len(views) > 1:
        share = standardised_gaussian_survival(x, scale_pairs)
        figure.add_trace(_line("Gaussian, own scale measured", x, share, "dot", _ORANGE))
    figure.add_trace(_line("Cauchy", x, cauchy_survival(x), "dash", GREY))
    for view, colour in zip(views, (_BLUE, _ORANGE), strict=False):
        answer = next((v.answer for v in verdicts if v.question == view.question), None)
        if answer is not None and answer not in _ALWAYS_DRAWN:
            figure.add_trace(_line(*_fitted(view, answer, x), "dashdot", colour))
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
    smallest = min(1.0 / view.values for view in views)
    grid = {"type": "log", "gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    ends = np.log10([2.0 * _NEAREST, far]).tolist()
    across = {"range": ends, "tickvals": _ticks(far), "title": "|noise|, in medians of |noise|"}
    down = {"range": [float(np.log10(smallest)) - 0.1, 0.15], "title": "share beyond", "dtick": 1}
    figure.update_xaxes(grid | across)
    figure.update_yaxes(grid | down | {"exponentformat": "power"})
    legend = {
        "traceorder": "reversed",
        "x": 0.01,
        "y": 0.02,
        "xanchor": "left",
        "yanchor": "bottom",
        "bgcolor": "rgba(0, 0, 0, 0)",
    }
    figure.update_layout(legend=legend)
    return style(figure, 360)


def _fitted(
    view: _View, answer: str, x: Float[np.ndarray, " points"]
) -> tuple[str, Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Fit the law that a verdict names to all of a view; return what to call it, and the line."""
    fit = fit_law(merge(view.sketches), answer, scale_values=view.scale_values)
    words = next(law.words for law in LAWS if law.name == answer)
    shapes = ", ".join(f"{name} {number(value)}" for name, value in fit.params.items() if name != "scale")
    name = f"{words}, {shapes}" if shapes else words
    return name, x, law_survival(fit, x * view.median, scale_values=view.scale_values)


def _ticks(far: float) -> list[float]:
    """Label every decade, and 2 and 5 between where there are few."""
    decades = int(np.log10(far)) + 1
    steps = (1.0, 2.0, 5.0) if decades <= 3 else (1.0,)
    return [step * 10.0**decade for decade in range(-1, decades) for step in steps]


def _line(
    name: str, x: Float[np.ndarray, " points"], share: Float[np.ndarray, " points"], dash: str, colour: str
) -> go.Scatter:
    # A share of 0 has no logarithm: the line ends there.
    drawn = share > 0.0
    return go.Scatter(
        x=x[drawn],
        y=share[drawn],
        name=name,
        mode="lines",
        hoverinfo="skip",
        line={"width": 1.5, "dash": dash, "color": colour},
    )


def _finding(entries: _View, draws: _View | None, scale_pairs: int) -> str:
    rarity = _rarity(entries if draws is None else min(entries, draws, key=lambda view: view.values))
    far = entries.quantile(rarity)
    gaussian, cauchy = _reach(gaussian_survival, rarity), _reach(cauchy_survival, rarity)
    first = (
        f"One noise entry in {rarity:,} is beyond {_interval(far)} medians (Gaussian {number(gaussian)}, "
        f"Cauchy {number(cauchy)})"
    )
    if draws is None:
        return f"{first}; there are too few draws to divide each entry by its own scale."
    own = draws.quantile(rarity)
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


def _rarity(view: _View) -> int:
    """Choose the rarest level that still has enough values beyond it."""
    return next(rarity for rarity in (1000, 100, 10) if view.values >= rarity * _BEYOND)


def _reach(survival: Callable[[np.ndarray], np.ndarray], rarity: int) -> float:
    """Find what one value in ``rarity`` of a law lies beyond, in medians."""
    x = np.geomspace(0.5, 1e4, 4000)
    return float(np.exp(np.interp(-1.0 / rarity, -survival(x), np.log(x))))


def _interval(found: Interval) -> str:
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def _no_tail(sketches: Sequence[Sketch]) -> Status:
    if any(sketch.nonfinite for sketch in sketches):
        return Status.NON_FINITE
    if not any(sketch.counts.size for sketch in sketches):
        return Status.ALL_ZERO if any(sketch.zeros for sketch in sketches) else Status.TOO_FEW_DRAWS
    return Status.TOO_FEW_VALUES


def _table(views: Sequence[_View]) -> pd.DataFrame:
    rows = [
        (view.name, float(medians), float(medians * view.median), float(share))
        for view in views
        for medians, share in zip(view.medians, view.share, strict=True)
    ]
    return pd.DataFrame(rows, columns=_TABLE_COLUMNS)
