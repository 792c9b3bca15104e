"""Read sketches: merge them, and take quantiles and characteristic functions from their counts.

A bucket is the leading 17 bits of a float32: the sign on top, then 8 exponent and 8 mantissa bits.
Counts add exactly across draws, processes and time, and no scale has to be known beforehand. Exact
zeros are kept apart and take no part in anything here: they are places the batch never reached.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int
from numpy.typing import ArrayLike

from gnoise.errors import UserError
from gnoise.records import Sketch
from gnoise.stats.plain import plain_array, plain_values

BUCKETS = 1 << 17
_DROPPED_BITS = 15
_MAGNITUDES = 1 << 16
_OCTAVE = 1 << 8
_NON_FINITE_FROM = 255 << 8
_COARSE_BINS = 2048
_CENTRAL = np.array([0.25, 0.5, 0.75])


class Bins(NamedTuple):
    """Counts between adjoining edges: bin ``k`` reaches from ``edges[k]`` to ``edges[k + 1]``.

    Attributes:
        edges: ascending; each is the end of a bucket, so that no count is split or guessed.
        counts: values in each bin, some of them 0.
    """

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]


def sketch_from_values(values: ArrayLike) -> Sketch:
    """Count values by the leading 17 bits of their float32 pattern.

    Args:
        values: any shape and number type; NaN, infinities, denormals and both zeros are fine. What float32
            cannot hold counts as an infinity above 3.4e38 and as a zero below 7e-46.

    Raises:
        UserError: the values are not real numbers.
    """
    with np.errstate(over="ignore"):
        flat = plain_array(values).astype(np.float32, copy=False).reshape(-1)
    numbers = flat[flat != 0.0]
    counts = np.bincount(numbers.view(np.uint32) >> _DROPPED_BITS, minlength=BUCKETS)
    return sketch_from_counts(counts, zeros=flat.size - numbers.size)


def sketch_from_counts(counts: Int[np.ndarray, "131072"], zeros: int) -> Sketch:
    """Make a sketch of dense counts, moving NaN and infinities out of the buckets.

    Args:
        counts: values in each of the 2¹⁷ buckets, exact zeros left out.
        zeros: exact zeros of either sign.
    """
    occupied = _occupied(counts)
    finite = occupied[_magnitude(occupied) < _NON_FINITE_FROM]
    kept = counts[finite].astype(np.int64)
    return Sketch(
        buckets=finite.astype(np.int64),
        counts=kept,
        zeros=zeros,
        nonfinite=int(counts.sum(dtype=np.int64) - kept.sum()),
    )


def merge(sketches: Sequence[Sketch]) -> Sketch:
    """Add sketches exactly; of none, an empty sketch.

    Args:
        sketches: of disjoint values, in any order.
    """
    dense = np.zeros(BUCKETS, dtype=np.int64)
    for sketch in sketches:
        dense[sketch.buckets] += sketch.counts
    occupied = _occupied(dense)
    return Sketch(
        buckets=occupied,
        counts=dense[occupied],
        zeros=sum(sketch.zeros for sketch in sketches),
        nonfinite=sum(sketch.nonfinite for sketch in sketches),
    )


def _occupied(dense: Int[np.ndarray, " dense"]) -> Int[np.ndarray, " buckets"]:
    """List the occupied of all buckets, ten times faster than ``flatnonzero``: few of the 512 octaves do."""
    by_octave = dense.reshape(-1, _OCTAVE)
    octaves = np.flatnonzero(by_octave.any(axis=1))
    rows, within = np.nonzero(by_octave[octaves])
    return octaves[rows] * _OCTAVE + within


def leave_one_out(sketches: Sequence[Sketch]) -> list[Sketch]:
    """Merge all sketches but one, for each in turn: what a jackknife needs.

    Args:
        sketches: one a block of draws.
    """
    whole, merged = merge(sketches), []
    for sketch in sketches:
        counts = whole.counts.copy()
        counts[np.searchsorted(whole.buckets, sketch.buckets)] -= sketch.counts
        occupied = counts > 0
        merged.append(
            Sketch(
                buckets=whole.buckets[occupied],
                counts=counts[occupied],
                zeros=whole.zeros - sketch.zeros,
                nonfinite=whole.nonfinite - sketch.nonfinite,
            )
        )
    return merged


def total(sketch: Sketch) -> int:
    """Count the finite, non-zero values."""
    return int(sketch.counts.sum(dtype=np.int64))


def bucket_edges(
    buckets: Int[np.ndarray, " buckets"],
) -> tuple[Float[np.ndarray, " buckets"], Float[np.ndarray, " buckets"]]:
    """Decode the lower and upper end of each bucket, lower < upper, with their sign.

    The outermost buckets end at ±2¹²⁸, just past the largest float32.

    Args:
        buckets: numbers in [0, 2¹⁷) of finite buckets.
    """
    magnitude = _magnitude(buckets)
    inner, outer = _end(magnitude), _end(magnitude + 1)
    negative = buckets >= _MAGNITUDES
    return np.where(negative, -outer, inner), np.where(negative, -inner, outer)


def bucket_values(buckets: Int[np.ndarray, " buckets"]) -> Float[np.ndarray, " buckets"]:
    """Represent each bucket by its middle, within 2⁻⁹ of every normal value in it.

    Args:
        buckets: numbers in [0, 2¹⁷) of finite buckets.
    """
    lower, upper = bucket_edges(buckets)
    return 0.5 * (lower + upper)


def quantiles(sketch: Sketch, q: ArrayLike) -> Float[np.ndarray, " levels"]:
    """Take quantiles of the non-zero values, within 0.4% of what the values themselves would give.

    Values are taken to lie evenly inside their bucket; between neighbouring values the quantile is
    linear, as in ``numpy.quantile``.

    Args:
        sketch: with at least one finite, non-zero value.
        q: levels in [0, 1].

    Raises:
        UserError: there is no such value, or a level is out of range.
    """
    _check_filled(sketch)
    lower, upper = bucket_edges(sketch.buckets)
    positive = int(np.searchsorted(sketch.buckets, _MAGNITUDES))
    order = np.concatenate([np.arange(sketch.buckets.size - 1, positive - 1, -1), np.arange(positive)])
    return _quantiles(lower[order], upper[order], sketch.counts[order], q)


def abs_quantiles(sketch: Sketch, q: ArrayLike) -> Float[np.ndarray, " levels"]:
    """Take quantiles of the absolute non-zero values.

    Args:
        sketch: with at least one finite, non-zero value.
        q: levels in [0, 1].

    Raises:
        UserError: there is no such value, or a level is out of range.
    """
    _check_filled(sketch)
    return _quantiles(*magnitude_edges(sketch), q)


def coarse_bins(sketch: Sketch, bins: int = _COARSE_BINS) -> Bins:
    r"""Add buckets up into few bins of about even width on an asinh scale.

    The scale is $\mathrm{asinh}((x - m) / s)$ with $m$ the median and $s$ half the inter-quartile range: linear in
    the middle, logarithmic in the tails. Each wanted edge moves to the nearest end of a bucket, where the count
    below it is exact, and edges that meet are one: where buckets are the wider ones, there are fewer bins than
    asked for.

    Args:
        sketch: with at least one finite, non-zero value.
        bins: as many as this at most, at least 2.

    Raises:
        UserError: there is no such value, or less than 2 bins are asked for.
    """
    _check_filled(sketch)
    if bins < 2:
        raise UserError(f"expected 2 bins or more, got {bins}; try bins=2048")
    ends, below = _bucket_ends(), np.zeros(2 * _NON_FINITE_FROM + 1, dtype=np.int64)
    below[_place(sketch.buckets) + 1] = sketch.counts
    np.cumsum(below, out=below)
    first, last = np.searchsorted(below, 0, side="right") - 1, np.searchsorted(below, below[-1])
    low, middle, high = quantiles(sketch, _CENTRAL)
    scale = max(0.5 * float(high - low), float(np.spacing(np.abs(middle))))
    left, right = np.arcsinh((ends[[first, last]] - middle) / scale)
    wanted = middle + scale * np.sinh(np.linspace(left, right, bins + 1))
    above = np.clip(np.searchsorted(ends, wanted), 1, ends.size - 1)
    nearest = above - (wanted - ends[above - 1] < ends[above] - wanted)
    nearest[[0, -1]] = first, last
    chosen = np.unique(np.clip(nearest, first, last))
    return Bins(edges=ends[chosen], counts=np.diff(below[chosen]))


def magnitude_edges(
    sketch: Sketch,
) -> tuple[Float[np.ndarray, " magnitudes"], Float[np.ndarray, " magnitudes"], Int[np.ndarray, " magnitudes"]]:
    """List the occupied buckets of absolute values, ascending: lower edges, upper edges, counts of both signs.

    Args:
        sketch: may be empty.
    """
    magnitude, counts = _folded(sketch)
    return _end(magnitude), _end(magnitude + 1), counts


def characteristic_function(
    sketch: Sketch, t: Float[np.ndarray, " frequencies"]
) -> Complex[np.ndarray, " frequencies"]:
    r"""Compute the empirical characteristic function of the non-zero values.

    $$\hat\varphi(t) = \frac1n \sum_k c_k\, \frac{e^{i t u_k} - e^{i t l_k}}{i t (u_k - l_k)}$$

    over buckets from $l_k$ to $u_k$ with count $c_k$: values are taken to lie evenly inside their bucket, so
    that buckets wider than a period fade out instead of aliasing.

    Args:
        sketch: with at least one finite, non-zero value.
        t: frequencies other than 0, in units of one over the values.
    """
    lower, upper = bucket_edges(sketch.buckets)
    at_lower, at_upper = np.outer(t, lower), np.outer(t, upper)
    share = sketch.counts / total(sketch)
    return ((np.exp(1j * at_upper) - np.exp(1j * at_lower)) / (1j * (at_upper - at_lower))) @ share


def symmetric_characteristic_function(sketch: Sketch, t: float, multiples: int) -> Float[np.ndarray, " multiples"]:
    """Compute the real part of :func:`characteristic_function`: all of it where the law is symmetric.

    Args:
        sketch: with at least one finite, non-zero value.
        t: frequency, in units of one over the values.
        multiples: of it, from 1 times to so many times.
    """
    magnitude, counts = _folded(sketch)
    is_end = np.zeros(_MAGNITUDES + 1, dtype=bool)
    is_end[magnitude] = is_end[magnitude + 1] = True  # neighbours share one
    places = np.flatnonzero(is_end)
    lower, ends = np.searchsorted(places, magnitude), _end(places)
    density = counts / (ends[lower + 1] - ends[lower])
    weights = np.zeros(ends.size)
    weights[lower + 1] += density
    weights[lower] -= density
    sums = _sines(t * ends, multiples) @ weights
    return sums / (np.arange(1, multiples + 1) * t * total(sketch))


def _sines(angles: Float[np.ndarray, " angles"], multiples: int) -> Float[np.ndarray, "multiples angles"]:
    """Compute sin a, sin 2a, … from sin (k + 1)a = 2 cos a sin ka − sin (k − 1)a."""
    sines = np.zeros((multiples + 1, angles.size))
    sines[1], twice = np.sin(angles), 2.0 * np.cos(angles)
    for k in range(2, multiples + 1):
        np.multiply(twice, sines[k - 1], out=sines[k])
        sines[k] -= sines[k - 2]
    return sines[1:]


def _magnitude(buckets: Int[np.ndarray, " buckets"]) -> Int[np.ndarray, " buckets"]:
    return buckets & (_MAGNITUDES - 1)


def _decode(magnitude: Int[np.ndarray, " buckets"]) -> Float[np.ndarray, " buckets"]:
    """Decode exponent and leading mantissa bits to float64, which holds 2¹²⁸ where float32 would not."""
    exponent, fraction = magnitude >> 8, (magnitude & 255) / 256.0
    normal = exponent > 0
    return np.ldexp(np.where(normal, 1.0 + fraction, fraction), np.where(normal, exponent, 1) - 127)


@cache
def _bucket_ends() -> Float[np.ndarray, " ends"]:
    """List the ends of all finite buckets, ascending from −2¹²⁸ to 2¹²⁸."""
    outward = _decode(np.arange(_NON_FINITE_FROM + 1))
    ends = np.concatenate([-outward[:0:-1], outward])
    ends.flags.writeable = False
    return ends


def _end(magnitude: Int[np.ndarray, " buckets"]) -> Float[np.ndarray, " buckets"]:
    """Look up the lower end of positive buckets."""
    return _bucket_ends()[_NON_FINITE_FROM + magnitude]


def _place(buckets: Int[np.ndarray, " buckets"]) -> Int[np.ndarray, " buckets"]:
    """Number buckets by value: bucket ``k`` from below reaches from end ``k`` to end ``k + 1``."""
    magnitude = _magnitude(buckets)
    return np.where(buckets >= _MAGNITUDES, _NON_FINITE_FROM - 1 - magnitude, _NON_FINITE_FROM + magnitude)


def _folded(sketch: Sketch) -> tuple[Int[np.ndarray, " magnitudes"], Int[np.ndarray, " magnitudes"]]:
    """Add up both signs: occupied magnitudes, ascending, and their counts."""
    dense = np.zeros(_MAGNITUDES, dtype=np.int64)
    positive = int(np.searchsorted(sketch.buckets, _MAGNITUDES))
    dense[sketch.buckets[:positive]] += sketch.counts[:positive]
    dense[_magnitude(sketch.buckets[positive:])] += sketch.counts[positive:]
    occupied = _occupied(dense)
    return occupied, dense[occupied]


def _check_filled(sketch: Sketch) -> None:
    if sketch.counts.size == 0:
        raise UserError(
            f"expected a sketch with finite values other than 0, got {sketch.zeros} zeros and {sketch.nonfinite} "
            "values that are not finite; try other values"
        )


def _quantiles(
    lower: Float[np.ndarray, " buckets"],
    upper: Float[np.ndarray, " buckets"],
    counts: Int[np.ndarray, " buckets"],
    q: ArrayLike,
) -> Float[np.ndarray, " levels"]:
    """Interpolate between the order statistics of buckets in ascending order."""
    levels = plain_values(q).reshape(-1)
    if not np.all((levels >= 0.0) & (levels <= 1.0)):
        raise UserError("expected levels from 0 to 1, got others; try counting in units of 1, not of percent")
    cumulative = np.cumsum(counts)
    position = levels * (cumulative[-1] - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, cumulative[-1] - 1)
    rank = np.stack([below, above])
    bucket = np.searchsorted(cumulative, rank, side="right")
    inside = (rank - (cumulative[bucket] - counts[bucket]) + 0.5) / counts[bucket]
    ordered = lower[bucket] + (upper[bucket] - lower[bucket]) * inside
    weight = position - below
    return (1.0 - weight) * ordered[0] + weight * ordered[1]
