r"""The averaging test: does taking the mean of more draws thin out the noise, and how fast?

The spread of a mean of k draws falls as k^(−1/2) when noise has a variance, as k^(1/α − 1) when it is
stable, and not at all when it is Cauchy. Only this says that a tail survives averaging. The spread must be a
quantile (a standard deviation of heavy tails follows its largest value), and the slope must be *constant*:
Student-t with three degrees of freedom has a variance, and still its first doublings look like α = 1.6.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import hadamard

from gnoise.records import CoordinateSample, Estimate, Status
from gnoise.stats.intervals import Interval, estimate_of, jackknife, no_estimate, t_interval
from gnoise.stats.statistic import Statistic, Subject

BLOCKS = 8
_LEVELS = np.array([0.5, 0.95])  # of |mean|: its median is half the quartile range
_FEWEST_COORDINATES = 16
_GAUSSIAN_SLOPE = -0.5
_TEST_LEVEL = 0.025  # of each of two tests, so that 5% of constant slopes are refused


@dataclass(frozen=True)
class AveragingCurve:
    """Spread of the mean of k pair noises at each k, of all blocks and with each block left out.

    Attributes:
        sizes: k, powers of two.
        spread: log₂ of the 50% and 95% quantiles of |mean of k|, pooled over standardised coordinates.
        left_out: the same with block b left out.
        coordinates: coordinates pooled.
    """

    sizes: Int[np.ndarray, " sizes"]
    spread: Float[np.ndarray, "sizes 2"]
    left_out: Float[np.ndarray, "blocks sizes 2"]
    coordinates: int


def estimate_averaging(subject: Subject, sample: CoordinateSample) -> list[Estimate]:
    """Estimate the averaging slope, and the tail index it implies where it is constant.

    Intervals compare eight blocks of draws (delete-one-block jackknife, Student-t), since coordinates
    of one draw depend on each other; ``n`` is the number of draws used, a multiple of 16.

    Args:
        subject: the layer.
        sample: its coordinates in every draw.
    """
    draws = sample.values.shape[0] // (2 * BLOCKS) * 2 * BLOCKS
    status = _problem(sample.values[:draws])
    moving = sample.values[:, moving_coordinates(sample.values)]
    curve = averaging_curve(pair_noise(moving)) if status is Status.OK else None
    if curve is None:
        reason = Status.TOO_FEW_VALUES if status is Status.OK else status
        return [no_estimate(subject.name, quantity, reason, draws) for quantity in STATISTIC.quantities]
    slope = averaging_slope(curve)
    given = sample.values.shape[1]
    kept = curve.coordinates
    note = "" if kept == given else f"{kept} of {given} coordinates; the others are mostly zero"
    return [
        estimate_of(subject.name, "averaging_slope", slope, draws, note),
        _alpha(subject.name, curve, slope, draws),
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
    Gaussian noise they are independent). And each coordinate is divided by its median |D| over six blocks
    which the group does not touch, so that the divisor has the same law at every k: with the median of all
    blocks the first doubling of Gaussian noise reads −0.487. Groups larger than a block are every pair of
    blocks.

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
    spread, left_out = np.empty((sizes.size, 2)), np.empty((blocks, sizes.size, 2))
    for place, size in enumerate(sizes):
        groups, members = _groups(noise, int(size))
        signs = hadamard(int(size)) / size
        means = np.abs(np.einsum("sk,gkc->gsc", signs, groups, optimize=True))
        means /= scales[members[:, 0], members[:, 1]][:, None, :]
        spread[place] = np.quantile(means, _LEVELS)
        for block in range(blocks):
            left_out[block, place] = np.quantile(means[np.all(members != block, axis=1)], _LEVELS)
    if min(spread.min(), left_out.min()) <= 0.0:
        return None
    return AveragingCurve(
        sizes=sizes, spread=np.log2(spread), left_out=np.log2(left_out), coordinates=int(scaled.sum())
    )


def averaging_slope(curve: AveragingCurve) -> Interval:
    """Fit the slope of log₂ median |mean of k| in log₂ k, all k with equal weight.

    Equal weights are within 5% of the best for Gaussian, stable and Cauchy noise alike.

    Args:
        curve: of two or more sizes.
    """
    slope = _contrast(curve.sizes, degree=1)
    return jackknife(curve.left_out[:, :, 0] @ slope, float(curve.spread[:, 0] @ slope))


def changing_slope(curve: AveragingCurve) -> str:
    """Test whether the slope is the same at every k and every quantile, as a stable law's is.

    The slope of the 95% quantile is compared with the slope of the median, and (with three or more sizes) the
    quadratic term of the median with zero, each at 2.5%. The first finds Student-t(3) in 1,024
    independent coordinates and 64 draws nearly always, where the quadratic term alone seldom does.

    Args:
        curve: of two or more sizes.

    Returns:
        What changes, in words; empty where nothing can be told from constant.
    """
    slope = _contrast(curve.sizes, degree=1)
    tail_less_median = curve.left_out[:, :, 1] @ slope - curve.left_out[:, :, 0] @ slope
    tests = [jackknife(tail_less_median, float((curve.spread[:, 1] - curve.spread[:, 0]) @ slope))]
    if curve.sizes.size > 2:
        bend = _contrast(curve.sizes, degree=2)
        tests.append(jackknife(curve.left_out[:, :, 0] @ bend, float(curve.spread[:, 0] @ bend)))
    found = [test.value for test in tests if _excludes_zero(test)]
    if not found:
        return ""
    if found[0] < 0.0:
        return "tails thin out as more draws are averaged"
    return "rare large values take over as more draws are averaged"


def _problem(values: Float[np.ndarray, "draws coords"]) -> Status:
    """Say why there is nothing to average, ``OK`` where there is something."""
    if not np.all(np.isfinite(values)):
        return Status.NON_FINITE
    if values.shape[0] == 0:
        return Status.TOO_FEW_DRAWS
    if not np.any(values):
        return Status.ALL_ZERO
    return Status.OK if np.any(values[0::2] != values[1::2]) else Status.CONSTANT


def _held_out_scales(
    noise: Float[np.ndarray, "blocks pairs coords"],
) -> Float[np.ndarray, "blocks blocks coords"]:
    """Take each coordinate's median |noise| without blocks i and j; where i = j, without i and the next."""
    blocks, _, coords = noise.shape
    size = np.abs(noise)
    scales = np.empty((blocks, blocks, coords))
    for i, j in combinations(range(blocks), 2):
        scales[i, j] = scales[j, i] = np.median(np.delete(size, [i, j], axis=0), axis=(0, 1))
    for i in range(blocks):
        scales[i, i] = scales[i, (i + 1) % blocks]
    return scales


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


def _excludes_zero(test: Interval) -> bool:
    """Compare with zero at the two-sided test level."""
    around = t_interval(test.value, test.stderr, BLOCKS - 1, confidence=1.0 - _TEST_LEVEL)
    return around.low > 0.0 or around.high < 0.0


def _alpha(name: str | None, curve: AveragingCurve, slope: Interval, draws: int) -> Estimate:
    """Read 1/(1 + slope) where the slope is constant; slopes below −0.5 read 2."""
    quantity = "alpha_averaging"
    change = changing_slope(curve)
    if change:
        return no_estimate(name, quantity, Status.NOT_CONSTANT_SLOPE, draws, change)
    value, low, high = (1.0 / (1.0 + max(_GAUSSIAN_SLOPE, s)) for s in (slope.value, slope.high, slope.low))
    return estimate_of(name, quantity, Interval(value, value**2 * slope.stderr, low, high), draws)


STATISTIC = Statistic(
    name="averaging",
    needs=CoordinateSample,
    quantities=("averaging_slope", "alpha_averaging"),
    estimate=estimate_averaging,
)
