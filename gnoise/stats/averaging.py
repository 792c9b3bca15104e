r"""The averaging test: does taking the mean of more draws thin out the noise, and how fast?

The spread of a mean of k draws falls as k^(−1/2) when noise has a variance, as k^(1/α − 1) when it is
stable, and not at all when it is Cauchy. Only this says that a tail survives averaging. The spread must be a
quantile (a standard deviation of heavy tails follows its largest value), and the slope must be *constant*:
Student-t with three degrees of freedom has a variance, and still its first doublings look like α = 1.6.

Two numbers decide: the slope of the median, and the drift, by how much the slopes of the tail's quantiles differ
from it. Means of a stable law keep its shape, so that its drift is 0, and only stable laws do that.

==========================  ==================  =======================================================
drift                       slope               answer
==========================  ==================  =======================================================
below 0                     any                 ``thinning``: heavy with a variance, as Student-t(3)
above 0                     any                 ``rare_values``: as Gaussian noise with a few Cauchy entries
0, and cannot be far off    flatter than −0.5   ``stable``: as heavy at any k as at k = 1
not told from 0             −0.5, surely ≤ −0.4 ``gaussian``, of equal scales or unequal ones
==========================  ==================  =======================================================

All else has too few draws for an answer. "Far off" is half of slope + ½: of every law with a variance that was tried,
from Student-t(2.1) to Laplace, the drift lies at −0.46 to −1.1 times slope + ½.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import hadamard
from scipy.special import stdtr, stdtrit

from gnoise.records import CoordinateSample, Estimate, Finding, Status, Verdict
from gnoise.stats.intervals import Interval, estimate_of, jackknife, no_estimate
from gnoise.stats.statistic import Statistic, Subject

BLOCKS = 8
_LEVELS = np.array([0.5, 0.9, 0.95])  # of |mean|: its median is half the quartile range, the others are its tail
_DRIFT = np.array([-1.0, 0.5, 0.5])
_FEWEST_COORDINATES = 16
_FEWEST_SIZES, _INSPECTED = 4, 64
_GAUSSIAN_SLOPE = -0.5
_SLOW = -0.4
_LEVEL = 0.02  # Gaussian noise taken for something else: three quarters by the drift, a quarter by the slope
_DRIFT_SHARE, _SLOPE_SHARE = 0.75, 0.25
_DRIFT_LIMIT = float(stdtrit(BLOCKS - 1, 1.0 - _DRIFT_SHARE * _LEVEL / 2.0))
_SLOPE_LIMIT = float(stdtrit(BLOCKS - 1, 1.0 - _SLOPE_SHARE * _LEVEL))
_STEADY_LIMIT = float(stdtrit(BLOCKS - 1, 0.9))
_THIN_TAIL = -0.25  # steeper than this the tail itself thins out; flatter, it is what the median is turning into
_LEAST_STDERR = 1e-12
_LOWEST_LOG = -24.0
_BINS_PER_DOUBLING = 128
_BINS = 64 * _BINS_PER_DOUBLING


@dataclass(frozen=True)
class AveragingCurve:
    """Spread of the mean of k pair noises at each k, of all blocks and with each block left out.

    Attributes:
        sizes: k, powers of two.
        spread: log₂ of the 50%, 90% and 95% quantiles of |mean of k|, pooled over standardised coordinates.
        left_out: the same with block b left out.
        coordinates: coordinates pooled.
    """

    sizes: Int[np.ndarray, " sizes"]
    spread: Float[np.ndarray, "sizes 3"]
    left_out: Float[np.ndarray, "blocks sizes 3"]
    coordinates: int


def estimate_averaging(subject: Subject, sample: CoordinateSample) -> list[Finding]:
    """Estimate the averaging slope, the tail index it implies where it is constant, and say what averaging does.

    Intervals compare eight blocks of draws (delete-one-block jackknife, Student-t), since coordinates
    of one draw depend on each other; ``n`` is the number of draws used, a multiple of 16.

    Args:
        subject: the layer.
        sample: its coordinates in every draw.
    """
    draws = sample.values.shape[0] // (2 * BLOCKS) * 2 * BLOCKS
    status = _problem(sample.values[:draws])
    moving = sample.values[:, moving_coordinates(sample.values)]
    noise = pair_noise(moving) if status is Status.OK else None
    if noise is not None and _repeats(noise):
        status, noise = Status.FEW_DISTINCT, None
    curve = None if noise is None else averaging_curve(noise)
    if curve is None:
        reason = Status.TOO_FEW_VALUES if status is Status.OK else status
        nothing = [no_estimate(subject.name, quantity, reason, draws) for quantity in STATISTIC.quantities]
        return [*nothing, _no_verdict(subject.name, reason, draws)]
    slope, drift = averaging_slope(curve), averaging_drift(curve)
    given = sample.values.shape[1]
    kept = curve.coordinates
    note = "" if kept == given else f"{kept} of {given} coordinates; the others are mostly zero"
    return [
        estimate_of(subject.name, "averaging_slope", slope, draws, note),
        _alpha(subject.name, slope, drift, draws),
        averaging_verdict(subject.name, curve, draws),
    ]


def pair_noise(values: Float[np.ndarray, "draws coords"]) -> Float[np.ndarray, "blocks pairs coords"]:
    """Take the noise of consecutive draws, (g − g')/√2, in eight blocks; a remainder is dropped.

    Args:
        values: of each draw; fewer than 16 draws leave blocks without pairs.
    """
    pairs = values.shape[0] // (2 * BLOCKS)
    used = values[: 2 * BLOCKS * pairs].astype(np.float64)
    return ((used[0::2] - used[1::2]) / np.sqrt(2.0)).reshape(BLOCKS, pairs, values.shape[1])


def moving_coordinates(values: Float[np.ndarray, "draws coords"]) -> Bool[np.ndarray, " coords"]:
    """Find the coordinates that are not zero in at least half of the draws.

    An embedding row which most draws never reach is exactly zero there, and so would be its median.

    Args:
        values: of each draw.
    """
    return np.count_nonzero(values, axis=0) >= values.shape[0] / 2


def averaging_curve(noise: Float[np.ndarray, "blocks pairs coords"]) -> AveragingCurve | None:
    r"""Measure the spread of means of k pair noises for k = 1, 2, 4, … while four groups remain.

    Two things let every k use all the data without bias. Noise of pairs is symmetric, so a group of k
    gives k means with orthogonal signs, $\frac1k \sum_i \pm D_i$, each with the law of the plain mean (for
    Gaussian noise they are independent). And each coordinate is divided by its geometric mean |D| over six blocks
    which the group does not touch, so that the divisor has the same law at every k: with one of all
    blocks the first doubling of Gaussian noise reads −0.487. Groups larger than a block are every pair of
    blocks. Quantiles are read off counts in bins of 2⁻⁷ in log₂, linear within a bin: within a tenth of a
    standard error of the exact ones, and every block can be left out of one count.

    Args:
        noise: at least one pair a block; coordinates without a scale are left out.

    Returns:
        The curve, or ``None`` with fewer than 16 coordinates or where a quantile is exactly zero.
    """
    blocks, pairs, coords = noise.shape
    if coords < _FEWEST_COORDINATES:
        return None
    scales = _held_out_scales(noise)
    scaled = np.all(scales > 0.0, axis=(0, 1))
    if int(scaled.sum()) < _FEWEST_COORDINATES:
        return None
    noise, scales = noise[:, :, scaled], scales[:, :, scaled]
    sizes = 2 ** np.arange(int(np.log2(2 * pairs)) + 1)
    spread = np.empty((blocks + 1, sizes.size, _LEVELS.size))
    for place, size in enumerate(sizes):
        groups, members = _groups(noise, int(size))
        means = np.abs(hadamard(int(size)) / size @ groups)
        means /= scales[members[:, 0], members[:, 1]][:, None, :]
        chosen = np.ones((blocks + 1, members.shape[0]))  # floats: exact, and multiplied far faster than integers
        chosen[1:] = np.all(members != np.arange(blocks)[:, None, None], axis=2)
        spread[:, place] = _log_quantiles(chosen @ _log_counts(means))
    if spread.min() < _LOWEST_LOG + 1.0:
        return None
    return AveragingCurve(sizes=sizes, spread=spread[0], left_out=spread[1:], coordinates=int(scaled.sum()))


def averaging_slope(curve: AveragingCurve) -> Interval:
    """Fit the slope of log₂ median |mean of k| in log₂ k, all k with equal weight.

    Equal weights are within 5% of the best for Gaussian, stable and Cauchy noise alike.

    Args:
        curve: of two or more sizes.
    """
    slope = _contrast(curve.sizes, degree=1)
    return jackknife(curve.left_out[:, :, 0] @ slope, float(curve.spread[:, 0] @ slope))


def averaging_drift(curve: AveragingCurve) -> Interval:
    """Compare slopes: the mean of those of the 90% and the 95% quantile, less that of the median.

    Draws whose means keep their shape as k doubles are stable, so the difference is 0 for stable laws, and only for
    them. A quadratic term of the median finds Student-t(3) only half as surely, and adds next to nothing.

    Args:
        curve: of two or more sizes.

    Returns:
        Below 0 where tails thin out, above where rare large values take over.
    """
    slope = _contrast(curve.sizes, degree=1)
    return jackknife(curve.left_out.swapaxes(1, 2) @ slope @ _DRIFT, float(slope @ curve.spread @ _DRIFT))


def averaging_verdict(name: str | None, curve: AveragingCurve, draws: int) -> Verdict:
    """Say what averaging does to the noise, by a t-test of the drift (two-sided) and one of the slope.

    The first is at 1.5% and the second, which has power to spare, at 0.5%; the p-value of Gaussian noise weights
    them likewise (Bonferroni). That a law is stable has to be shown: its drift must lie within half of slope + ½,
    at 10% on either side. The margin counts standard errors, of whichever test is closest, from where the answer
    would change to the runner-up.

    Args:
        name: of the layer.
        curve: of two or more sizes.
        draws: behind it.
    """
    slope, drift = averaging_slope(curve), averaging_drift(curve)
    slowness, change = _t(slope, _GAUSSIAN_SLOPE), _t(drift, 0.0)
    by_slope, by_drift = float(stdtr(BLOCKS - 1, -slowness)), 2.0 * float(stdtr(BLOCKS - 1, -abs(change)))
    slow, changing = slowness - _SLOPE_LIMIT, abs(change) - _DRIFT_LIMIT
    thins = change < 0.0 and slope.value + drift.value < _THIN_TAIL
    unsteady = "thinning" if thins else "rare_values"
    if changing > 0.0:
        answer, runner_up, margin = unsteady, "stable" if slow > 0.0 else "gaussian", changing
    elif (slow > 0.0 and not _is_steady(curve)) or (slow <= 0.0 and slope.high > _SLOW):
        return _no_verdict(name, Status.TOO_FEW_DRAWS, draws)
    else:
        answer, other = ("stable", "gaussian") if slow > 0.0 else ("gaussian", "stable")
        margin, runner_up = min((abs(slow), other), (-changing, unsteady))
    return Verdict(
        layer=name,
        question="averaging",
        answer=answer,
        runner_up=runner_up,
        margin=margin,
        p_value=min(by_slope / _SLOPE_SHARE, by_drift / _DRIFT_SHARE, 1.0),
        n=draws,
        status=Status.OK,
        note=_doublings(curve),
    )


def _t(interval: Interval, truth: float) -> float:
    return (interval.value - truth) / max(interval.stderr, _LEAST_STDERR)


def _is_steady(curve: AveragingCurve) -> bool:
    """Tell whether the drift is surely within half of slope + ½ on either side."""
    slope = _contrast(curve.sizes, degree=1)
    whole, left_out = slope @ curve.spread, curve.left_out.swapaxes(1, 2) @ slope
    for side in (-1.0, 1.0):
        room = np.array([0.5, 0.0, 0.0]) + side * _DRIFT
        within = jackknife(left_out @ room - 0.5 * _GAUSSIAN_SLOPE, float(whole @ room) - 0.5 * _GAUSSIAN_SLOPE)
        if _t(within, 0.0) < _STEADY_LIMIT:
            return False
    return True


def _doublings(curve: AveragingCurve) -> str:
    """Say how the slope runs from the first doubling to the last."""
    steps = np.diff(curve.spread[:, 0])
    return f"slope {steps[0]:+.2f} from 1 draw to 2, {steps[-1]:+.2f} from {curve.sizes[-2]} to {curve.sizes[-1]}"


def _no_verdict(name: str | None, status: Status, draws: int) -> Verdict:
    return Verdict(name, "averaging", None, runner_up="", margin=None, p_value=None, n=draws, status=status)


def _problem(values: Float[np.ndarray, "draws coords"]) -> Status:
    """Say why there is nothing to average, ``OK`` where there is something."""
    if not np.all(np.isfinite(values)):
        return Status.NON_FINITE
    if values.shape[0] == 0:
        return Status.TOO_FEW_DRAWS
    if not np.any(values):
        return Status.ALL_ZERO
    return Status.OK if np.any(values[0::2] != values[1::2]) else Status.CONSTANT


def _repeats(noise: Float[np.ndarray, "blocks pairs coords"]) -> bool:
    """Whether most coordinates know less than four sizes of noise: quantiles of few numbers jump between them."""
    some = np.abs(np.concatenate(noise))[:, :: max(1, noise.shape[2] // _INSPECTED)]
    sizes = [np.unique(column[column > 0.0]).size for column in some.T]
    return bool(sizes) and noise.shape[1] > 0 and float(np.median(sizes)) < _FEWEST_SIZES


def _held_out_scales(
    noise: Float[np.ndarray, "blocks pairs coords"],
) -> Float[np.ndarray, "blocks blocks coords"]:
    """Take each coordinate's geometric mean |noise| without blocks i and j; where i = j, without i and the next.

    Exact zeros take no part; where nothing else is left the scale is 0.
    """
    blocks = noise.shape[0]
    moving = noise != 0.0
    logs = np.log(np.abs(noise), where=moving, out=np.zeros_like(noise)).sum(axis=1)
    counts = moving.sum(axis=1)
    second = np.arange(blocks) + np.eye(blocks, dtype=np.int64)
    without = (np.arange(blocks)[:, None], second % blocks)
    log_sum = logs.sum(axis=0) - logs[without[0]] - logs[without[1]]
    count = counts.sum(axis=0) - counts[without[0]] - counts[without[1]]
    return np.where(count > 0, np.exp(log_sum / np.maximum(count, 1)), 0.0)


def _log_counts(means: Float[np.ndarray, "groups size coords"]) -> Float[np.ndarray, "groups bins"]:
    """Count log₂ of each group's values in bins of equal width; what lies outside joins the outermost."""
    logs = np.log2(np.maximum(means, np.finfo(np.float64).tiny)).reshape(means.shape[0], -1)
    place = np.clip((logs - _LOWEST_LOG) * _BINS_PER_DOUBLING, 0, _BINS - 1).astype(np.int64)
    place += _BINS * np.arange(means.shape[0])[:, None]
    counts = np.bincount(place.ravel(), minlength=_BINS * means.shape[0])
    return counts.reshape(means.shape[0], _BINS).astype(np.float64)


def _log_quantiles(counts: Float[np.ndarray, "sets bins"]) -> Float[np.ndarray, "sets 3"]:
    """Read the quantiles of log₂ off counts, linear within a bin."""
    edges = _LOWEST_LOG + np.arange(_BINS + 1) / _BINS_PER_DOUBLING
    reached = np.concatenate([np.zeros((counts.shape[0], 1)), np.cumsum(counts, axis=1)], axis=1)
    return np.stack([np.interp(_LEVELS * each[-1], each, edges) for each in reached])


def _groups(
    noise: Float[np.ndarray, "blocks pairs coords"], size: int
) -> tuple[Float[np.ndarray, "groups size coords"], Int[np.ndarray, "groups 2"]]:
    """Cut blocks into groups of ``size`` pairs, or join every two blocks; say which two each touches."""
    blocks, pairs, coords = noise.shape
    if size <= pairs:
        each = pairs // size
        members = np.repeat(np.arange(blocks), each)
        groups = noise[:, : each * size].reshape(blocks * each, size, coords)
        return groups, np.stack([members, members], axis=1)
    joined = np.array(list(combinations(range(blocks), 2)))
    return noise[joined].reshape(joined.shape[0], 2 * pairs, coords)[:, :size], joined


def _contrast(sizes: Int[np.ndarray, " sizes"], degree: int) -> Float[np.ndarray, " sizes"]:
    """Give the weights that turn values at each k into a polynomial's leading coefficient in log₂ k."""
    return np.linalg.pinv(np.vander(np.log2(sizes), degree + 1))[0]


def _alpha(name: str | None, slope: Interval, drift: Interval, draws: int) -> Estimate:
    """Read 1/(1 + slope) where the slope is constant; slopes below −0.5 read 2."""
    quantity = "alpha_averaging"
    if abs(drift.value) > _DRIFT_LIMIT * drift.stderr:
        words = "tails thin out" if drift.value < 0.0 else "rare large values take over"
        note = f"{words} as more draws are averaged"
        return no_estimate(name, quantity, Status.NOT_CONSTANT_SLOPE, draws, note)
    value, low, high = (1.0 / (1.0 + max(_GAUSSIAN_SLOPE, s)) for s in (slope.value, slope.high, slope.low))
    return estimate_of(name, quantity, Interval(value, value**2 * slope.stderr, low, high), draws)


STATISTIC = Statistic(
    name="averaging",
    needs=CoordinateSample,
    quantities=("averaging_slope", "alpha_averaging"),
    questions=("averaging",),
    estimate=estimate_averaging,
)
