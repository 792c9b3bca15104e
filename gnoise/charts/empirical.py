"""One layer's noise as it was counted: how often it is how far out, with any law fitted to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gnoise.charts.phrases import number
from gnoise.records import Sketch, SketchSample, Status
from gnoise.stats.intervals import Interval, jackknife
from gnoise.stats.laws import LAWS, fit_law, law_survival
from gnoise.stats.sketch import abs_quantiles, bucket_edges, leave_one_out, merge, sketch_from_values, total

NEAREST = 0.1
"""Medians from which on a curve is drawn."""
BEYOND = 20
"""Values beyond a quantile, at least, for it to mean anything."""
_POINTS, _LAST_BUCKETS = 600, 100
_MAGNITUDE_BITS = (1 << 16) - 1


@dataclass(frozen=True)
class View:
    """One empirical survival curve: ``share`` of the values is at least ``medians`` medians in size.

    Attributes:
        name: across entries, all of them pooled, or across draws, each divided by its own scale.
        question: asked of it, as in a verdict.
        sketches: one a block of draws, none of them empty.
        scale_values: pairs each entry's own scale was taken from; ``None`` where entries are pooled.
        median: of |noise|.
        medians: ascending.
        share: from 1 downwards.
    """

    name: str
    question: str
    sketches: tuple[Sketch, ...]
    scale_values: int | None
    median: float
    medians: Float[np.ndarray, " points"]
    share: Float[np.ndarray, " points"]

    @property
    def values(self) -> int:
        """Noise entries counted."""
        return sum(total(sketch) for sketch in self.sketches)

    def quantiles(self, shares: Float[np.ndarray, " levels"]) -> list[Interval]:
        """Measure, in medians, what each share of the values lies beyond; intervals by leaving blocks out."""
        levels = np.concatenate([[0.5], 1.0 - shares])

        def ratios(sketch: Sketch) -> Float[np.ndarray, " levels"]:
            middle, *far = abs_quantiles(sketch, levels)
            return np.log(np.array(far) / middle)

        left_out = np.array([ratios(sketch) for sketch in leave_one_out(self.sketches)])
        found: list[Interval] = []
        for place, full in enumerate(ratios(merge(self.sketches))):
            logs = jackknife(left_out[:, place], float(full))
            value = float(np.exp(full))
            found.append(Interval(value, value * logs.stderr, float(np.exp(logs.low)), float(np.exp(logs.high))))
        return found


@dataclass(frozen=True)
class LawLine:
    """A law fitted to a view, along some points.

    Attributes:
        name: the law in words with its shapes.
        share: P(|noise| > x).
        low: lower end of its 95% interval, by fitting without each block of draws.
        high: upper end.
    """

    name: str
    share: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def views(sample: SketchSample) -> tuple[View | None, View | None]:
    """Turn a layer's sketches into its curves across entries and across draws; ``None`` where there are too few values.

    Args:
        sample: of one layer.
    """
    return (
        _view("across entries", "tails_entries", sample.entries, None),
        _view("across draws", "tails_draws", sample.draws, sample.scale_pairs),
    )


def fitted(view: View, law: str, x: Float[np.ndarray, " points"]) -> LawLine:
    """Fit a law to all of a view, and to all but one block at a time.

    Args:
        view: what to fit it to.
        law: its name.
        x: in medians.
    """
    fits = [
        fit_law(sketch, law, scale_values=view.scale_values)
        for sketch in (merge(view.sketches), *leave_one_out(view.sketches))
    ]
    with np.errstate(divide="ignore"):
        logs = np.log([law_survival(fit, x * view.median, scale_values=view.scale_values) for fit in fits])
    low, high = logs[0].copy(), logs[0].copy()
    for place in np.flatnonzero(np.isfinite(logs).all(0)):
        ends = jackknife(logs[1:, place], float(logs[0, place]))
        low[place], high[place] = ends.low, ends.high
    words = next(each.words for each in LAWS if each.name == law)
    shapes = ", ".join(f"{name} {number(value)}" for name, value in fits[0].params.items() if name != "scale")
    return LawLine(f"{words}, {shapes}" if shapes else words, np.exp(logs[0]), np.exp(low), np.minimum(np.exp(high), 1))


def tabulate_laws(scale_pairs: int) -> None:
    """Fit every law once to next to nothing: the tables that fits read are made at their first use, and kept.

    Args:
        scale_pairs: that a run takes each entry's own scale from.
    """
    sketch = sketch_from_values(np.linspace(0.1, 3.0, 100).astype(np.float32))
    for law in LAWS:
        for scale_values in (None, scale_pairs):
            fit_law(sketch, law.name, scale_values=scale_values)


def why_none(sketches: Sequence[Sketch]) -> Status:
    """Say why sketches make no curve.

    Args:
        sketches: of one view.
    """
    if any(sketch.nonfinite for sketch in sketches):
        return Status.NON_FINITE
    if not any(sketch.counts.size for sketch in sketches):
        return Status.ALL_ZERO if any(sketch.zeros for sketch in sketches) else Status.TOO_FEW_DRAWS
    return Status.TOO_FEW_VALUES


def _view(name: str, question: str, sketches: Sequence[Sketch], scale_values: int | None) -> View | None:
    filled = tuple(sketch for sketch in sketches if sketch.counts.size)
    merged = merge(filled)
    if len(filled) < 2 or total(merged) < 10 * BEYOND:
        return None
    magnitudes, place = np.unique(merged.buckets & _MAGNITUDE_BITS, return_inverse=True)
    counts = np.bincount(place, weights=merged.counts)
    edges, _ = bucket_edges(magnitudes)
    share = np.cumsum(counts[::-1])[::-1] / counts.sum()
    median = float(abs_quantiles(merged, np.array([0.5]))[0])
    kept = _thinned(edges / median)
    return View(name, question, filled, scale_values, median, edges[kept] / median, share[kept])


def _thinned(medians: Float[np.ndarray, " buckets"]) -> Int[np.ndarray, " points"]:
    """Pick points evenly in log x, and every one of the last buckets, where single values count."""
    start = min(int(np.searchsorted(medians, NEAREST)), medians.size - 1)
    wanted = np.geomspace(medians[start], medians[-1], _POINTS - _LAST_BUCKETS)
    even = np.minimum(np.searchsorted(medians, wanted), medians.size - 1)
    last = np.arange(max(start, medians.size - _LAST_BUCKETS), medians.size)
    return np.unique(np.concatenate([even, last]))
