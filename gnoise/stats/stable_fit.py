"""Fit all four parameters of a stable law by maximum likelihood, from values or from their sketch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from gnoise.records import Sketch, Status
from gnoise.stats.plain import plain_values
from gnoise.stats.sketch import bucket_edges, quantiles, total
from gnoise.stats.stable_curve import HIGHEST_ALPHA, LOWEST_ALPHA, Curve, skewed_curve, symmetric_curve
from gnoise.stats.stable_table import HIGHEST_TABLED_BETA, PANELS, tabled_curve

_QUARTILES = np.array([0.25, 0.5, 0.75])
_FREQUENCIES = np.linspace(0.1, 1.0, 10)
_FEWEST_VALUES = 50
_LARGEST_ATOM = 0.1
_DECILES = np.linspace(0.1, 0.9, 9)
_FLATTEST = 0.05  # slopes that no law in range has start from the nearest that can be divided by
_LOG_SCALES = -7.0, 7.0
_FARTHEST = 1e60  # in units of half the quartile range; farther out densities leave float64's range
_BINS = 2048
_BITS_OF_1 = 1023 << 52  # of a float64
_LOWEST = np.array([LOWEST_ALPHA, -0.999, 1e-3, -1e3])  # of alpha, beta, gamma, delta; half the quartile range is 1
_HIGHEST = np.array([HIGHEST_ALPHA, 0.999, 1e3, 1e3])
_TABLED = 1_000_000  # up to so many values the table's own error is lost in the standard errors
_STEPS = 40
_SETTLED = 2e-2  # standard errors that another step would move by
_ACCEPTED = 0.05
_SPLINE_ERROR = 1e-6  # of the log likelihood per value; the score decides below it
_SHORTENINGS = 8
_TURNED = 0.5
_NORMAL_95 = 1.959963984540054
_INFORMATION_GRID = 600


@dataclass(frozen=True)
class StableFit:
    """A stable law (S0) fitted by maximum likelihood, or why there is none.

    Standard errors and 95% ends are those of independent values. Entries of one gradient are not independent: compare
    blocks of draws for an interval that a layer's number can carry.

    Attributes:
        alpha: tail index in [0.5, 1.999]; at the upper end the values are Gaussian as far as they can tell.
        beta: skewness in [−0.999, 0.999]; little is known about it as alpha nears 2, as its interval says.
        gamma: scale, in units of the values.
        delta: location, in units of the values.
        loglik: log likelihood of all values at the fit, good to about 1e-5 per value.
        n: values that took part.
        status: ``OK``, or why all other numbers are 0.
    """

    alpha: float
    alpha_stderr: float
    alpha_low: float
    alpha_high: float
    beta: float
    beta_stderr: float
    beta_low: float
    beta_high: float
    gamma: float
    gamma_stderr: float
    gamma_low: float
    gamma_high: float
    delta: float
    delta_stderr: float
    delta_low: float
    delta_high: float
    loglik: float
    n: int
    status: Status


@dataclass(frozen=True)
class _Data:
    """Values less their median over half their quartile range, in bins narrow beside any density's bends."""

    centre: float
    scale: float
    z: Float[np.ndarray, " bins"]
    counts: Float[np.ndarray, " bins"]


@dataclass(frozen=True)
class _Densities:
    """Where densities come from, and the parameters for which they do.

    Attributes:
        curve: of alpha, beta, and how far it has to reach to the left and to the right in asinh x.
        lowest: alpha, beta, gamma, delta.
        highest: of the same.
    """

    curve: Callable[[float, float, float, float], Curve]
    lowest: Float[np.ndarray, "4"]
    highest: Float[np.ndarray, "4"]


@dataclass(frozen=True)
class _Evaluation:
    """Log likelihood, its gradient and the expected information, per value."""

    loglik: float
    score: Float[np.ndarray, "4"]
    information: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class _Summit:
    """Where a climb ended, and the standard errors that another step would have moved by."""

    theta: Float[np.ndarray, "4"]
    here: _Evaluation
    left: float


_TABLE = _Densities(
    lambda alpha, beta, _left, _right: tabled_curve(alpha, beta),
    np.array([PANELS[0], -HIGHEST_TABLED_BETA, *_LOWEST[2:]]),
    np.array([HIGHEST_ALPHA, HIGHEST_TABLED_BETA, *_HIGHEST[2:]]),
)
_SYMMETRIC = _Densities(lambda alpha, _beta, _left, _right: symmetric_curve(alpha), _LOWEST, _HIGHEST)
_INTEGRALS = _Densities(skewed_curve, _LOWEST, _HIGHEST)


def fit_stable(
    values_or_sketch: ArrayLike | Sketch, *, symmetric: bool = False, start: StableFit | None = None
) -> StableFit:
    r"""Fit (alpha, beta, gamma, delta) of a stable law by maximum likelihood.

    Starts from Kogon and Williams' regression on the characteristic function, with its phase for beta and
    delta; then Fisher scoring

    $$\theta \leftarrow \theta + I(\theta)^{-1} \frac1n \sum_k c_k\, \dot\ell(z_k; \theta)$$

    on values gathered into at most 2,048 bins, narrow in the middle and wide in the tails, each at its mean.
    Densities and their derivatives are looked up in a table for alpha from 0.7 and beta up to ±0.94. Outside, and for
    the last steps of more than a million values, whose standard errors are as small as the table's, they are
    integrated at some 140 points a step and splined. The fit has settled when another step would move no parameter by
    a fiftieth of its standard error; one that stops with more than a twentieth left is refused.

    Args:
        values_or_sketch: numbers in an array of any shape, a list, or a sketch (whose exact zeros take no part).
        symmetric: hold beta at 0.
        start: an earlier fit of values like these, in place of the regression.

    Raises:
        UserError: the values are not real numbers.

    References:
        Kogon & Williams 1998, *Characteristic function based estimation of stable distribution parameters*.
        DuMouchel 1973, *On the asymptotic normality of the maximum-likelihood estimate when sampling from a
        stable distribution*, Annals of Statistics 1(5).
    """
    given = values_or_sketch if isinstance(values_or_sketch, Sketch) else plain_values(values_or_sketch)
    n, problem = _problem(given)
    if problem is not Status.OK:
        return _none(n, problem)
    data = _data_of_sketch(given) if isinstance(given, Sketch) else _data(given)
    if data is None:
        return _none(n, Status.FEW_DISTINCT)
    free = np.array([True, not symmetric, True, True])
    theta = _start(data, free) if start is None or start.status is not Status.OK else _resume(start, data, free)
    summit = _summit(theta, data, free, n)
    if summit.left > _ACCEPTED:
        return _none(n, Status.NOT_CONVERGED)
    return _report(summit, free, data, n)


def stable_information(alpha: float, beta: float) -> Float[np.ndarray, "4 4"]:
    r"""Compute Fisher's information about (alpha, beta, gamma, delta) in one value of the standard law.

    Its inverse over $n$ is the Cramér–Rao bound of $n$ values.

    Args:
        alpha: tail index in [0.5, 1.999].
        beta: skewness in [−0.999, 0.999].
    """
    reach = 1.0 + 18.4 / alpha  # one value in 10⁸ lies farther
    return _information(skewed_curve(alpha, beta, reach, reach), 1.0, reach, reach)


def _problem(given: Float[np.ndarray, "..."] | Sketch) -> tuple[int, Status]:
    """Count what can take part; say why nothing can be fitted, ``OK`` where something can."""
    if isinstance(given, Sketch):
        n = total(given)
        zeros = n == 0 and given.zeros > 0
        finite, constant = given.nonfinite == 0, given.buckets.size == 1
    else:
        n, finite = given.size, bool(np.isfinite(given).all())
        zeros = n > 0 and not given.any()
        constant = n > 0 and bool(given.min() == given.max())
    if not finite:
        return n, Status.NON_FINITE
    if zeros:
        return n, Status.ALL_ZERO
    if constant:
        return n, Status.CONSTANT
    return n, Status.TOO_FEW_VALUES if n < _FEWEST_VALUES else Status.OK


def _data(values: Float[np.ndarray, "..."]) -> _Data | None:
    """Standardise and bin values; none where one number makes up a tenth of them, so that deciles meet."""
    flat = values.reshape(-1)
    low, centre, high = _quartiles(flat)
    if not low < high:
        return None
    data = _binned(flat, None, centre, 0.5 * (high - low))
    suspected = data.z.size == flat.size or data.counts.max() >= _LARGEST_ATOM * (flat.size - 1)
    if suspected and np.any(np.diff(np.quantile(flat, _DECILES)) <= 0.0):
        return None
    return data


def _quartiles(values: Float[np.ndarray, " values"]) -> tuple[float, float, float]:
    """Select quartiles, each from what the last selection left: several times faster than all at once."""
    half, quarter = values.size // 2, values.size // 4
    halves = np.partition(values, half)
    low = np.partition(halves[:half], quarter)[quarter]
    high = np.partition(halves[half:], quarter)[quarter]
    return float(low), float(halves[half]), float(high)


def _data_of_sketch(sketch: Sketch) -> _Data | None:
    """Standardise and bin a sketch; none where one bucket holds a tenth of it."""
    low, centre, high = quantiles(sketch, _QUARTILES)
    lower, upper = bucket_edges(sketch.buckets)
    counts = sketch.counts.astype(np.float64)
    if counts.max() > _LARGEST_ATOM * counts.sum():
        return None
    return _binned(0.5 * (lower + upper), counts, float(centre), 0.5 * float(high - low))


def _binned(
    values: Float[np.ndarray, " any"], counts: Float[np.ndarray, " any"] | None, centre: float, scale: float
) -> _Data:
    """Gather values, each once or so many times, into bins of about even width in asinh asinh, each at its mean.

    Bins even in asinh would be too wide beside the sharp centre of laws below alpha 1: at 10⁶ values that shifts
    alpha by a standard error. Tails bend slowly and bear wide bins.
    """
    with np.errstate(over="ignore"):
        z = np.clip((values - centre) / scale, -_FARTHEST, _FARTHEST)
    if z.size <= _BINS:
        return _Data(centre, scale, z, np.ones(z.size) if counts is None else counts)
    y = np.copysign(_log2_of_1_and(_log2_of_1_and(np.abs(z))), z)
    low, high = float(y.min()), float(y.max())
    bins = np.minimum(((y - low) * (_BINS / (high - low))).astype(np.int64), _BINS - 1)
    held = np.bincount(bins, counts, _BINS)
    sums = np.bincount(bins, z if counts is None else counts * z, _BINS)
    full = held > 0
    return _Data(centre, scale, sums[full] / held[full], held[full].astype(np.float64))


def _log2_of_1_and(z: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
    """Compute log₂(1 + z), straight between powers of 2: what the bits of a float read as an integer say."""
    return ((1.0 + z).view(np.int64) - _BITS_OF_1) * 2.0**-52


def _start(data: _Data, free: Bool[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Regress the logarithm of the characteristic function: modulus for alpha and gamma, phase for the rest."""
    first = np.exp(1j * _FREQUENCIES[0] * data.z)  # whose powers are the others
    powers = np.cumprod(np.broadcast_to(first, (_FREQUENCIES.size, first.size)), axis=0)
    cf = powers @ (data.counts / data.counts.sum())
    modulus = np.clip(np.abs(cf), 1e-3, 1.0 - 1e-6)
    alpha, level = np.polyfit(np.log(_FREQUENCIES), np.log(-np.log(modulus)), 1)
    gamma = float(np.exp(np.clip(level / max(float(alpha), _FLATTEST), *_LOG_SCALES)))
    alpha = float(np.clip(alpha, 0.55, 1.98))
    eps, at = alpha - 1.0, gamma * _FREQUENCIES
    bend = np.expm1(eps * np.log(at)) / np.tan(np.pi * eps / 2.0) if eps else 2.0 / np.pi * np.log(at)
    columns = np.stack([-at * bend, _FREQUENCIES], axis=1)
    phase = np.unwrap(np.angle(cf))
    if free[1]:
        (beta, delta), *_ = np.linalg.lstsq(columns, phase, rcond=None)
    else:
        beta, delta = 0.0, float(columns[:, 1] @ phase / (columns[:, 1] @ columns[:, 1]))
    return np.clip([alpha, np.clip(beta, -0.9, 0.9), gamma, delta], _LOWEST, _HIGHEST)


def _resume(start: StableFit, data: _Data, free: Bool[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    beta = start.beta if free[1] else 0.0
    theta = [start.alpha, beta, start.gamma / data.scale, (start.delta - data.centre) / data.scale]
    return np.clip(theta, _LOWEST, _HIGHEST)


def _summit(theta: Float[np.ndarray, "4"], data: _Data, free: Bool[np.ndarray, "4"], n: int) -> _Summit:
    """Climb on tabled densities as far as they go, then on integrated ones if that is not enough."""
    if not free[1]:
        return _climb(theta, data, free, n, _SYMMETRIC)
    first = theta
    if _within(theta, _TABLE):
        summit = _climb(theta, data, free, n, _TABLE)
        first = summit.theta
        if n <= _TABLED and summit.left < _SETTLED and _within(first, _TABLE):
            return summit
    summit = _climb(first, data, free, n, _INTEGRALS)
    if summit.left > _ACCEPTED and first is not theta:
        summit = _climb(theta, data, free, n, _INTEGRALS)
    return summit


def _within(theta: Float[np.ndarray, "4"], densities: _Densities) -> bool:
    """Say whether nothing is held by an end that is the densities' own."""
    ends = (densities.lowest > _LOWEST, densities.highest < _HIGHEST)
    return not np.any((theta <= densities.lowest) & ends[0] | (theta >= densities.highest) & ends[1])


def _evaluate(theta: Float[np.ndarray, "4"], data: _Data, densities: _Densities) -> _Evaluation:
    alpha, beta, gamma, delta = (float(value) for value in theta)
    x = (data.z - delta) / gamma
    reach = 1.0 + 9.2 / alpha  # one value in 10,000 lies farther, whatever was seen
    left, right = max(reach, -float(np.arcsinh(x.min()))) + 0.1, max(reach, float(np.arcsinh(x.max()))) + 0.1
    curve = densities.curve(alpha, beta, left, right)
    table = curve(x)
    share = data.counts / data.counts.sum()
    return _Evaluation(
        loglik=float(share @ table[0] - np.log(gamma)),
        score=_scores(table, x, gamma) @ share,
        information=_information(curve, gamma, left, right),
    )


def _information(curve: Curve, gamma: float, left: float, right: float) -> Float[np.ndarray, "4 4"]:
    """Average products of scores over the law, by the trapezoid rule in asinh."""
    grid = np.linspace(-left, right, _INFORMATION_GRID)
    x = np.sinh(grid)
    table = curve(x)
    scores = _scores(table, x, gamma)
    mass = np.exp(table[0]) * np.cosh(grid) * (grid[1] - grid[0])
    return (scores * mass) @ scores.T


def _scores(
    table: Float[np.ndarray, "4 points"], x: Float[np.ndarray, " points"], gamma: float
) -> Float[np.ndarray, "4 points"]:
    return np.stack([table[1], table[2], -(1.0 + x * table[3]) / gamma, -table[3] / gamma])


def _climb(
    theta: Float[np.ndarray, "4"], data: _Data, free: Bool[np.ndarray, "4"], n: int, densities: _Densities
) -> _Summit:
    """Take scoring steps until the next would be small beside the standard errors, or none helps."""
    here, left = _evaluate(theta, data, densities), np.inf
    for _ in range(_STEPS):
        step, moving = _step(theta, here, free, densities)
        left = float(np.max(np.abs(step) * np.sqrt(n * np.diag(here.information)), where=moving, initial=0.0))
        if left < _SETTLED:
            break
        trial, there = _improve(theta, step, here, data, densities)
        if there is None:
            break
        theta, here = trial, there
    return _Summit(theta, here, left)


def _step(
    theta: Float[np.ndarray, "4"], here: _Evaluation, free: Bool[np.ndarray, "4"], densities: _Densities
) -> tuple[Float[np.ndarray, "4"], Bool[np.ndarray, "4"]]:
    """Solve for the scoring step of the parameters that are neither held nor pushed against an end."""
    moving = free.copy()
    step = np.zeros(4)
    for _ in range(theta.size):
        step[:] = 0.0
        step[moving] = np.linalg.solve(here.information[np.ix_(moving, moving)], here.score[moving])
        outwards = ((theta <= densities.lowest) & (step < 0.0)) | ((theta >= densities.highest) & (step > 0.0))
        pushed = moving & outwards
        if not pushed.any():
            break
        moving &= ~pushed
    return step, moving


def _improve(
    theta: Float[np.ndarray, "4"],
    step: Float[np.ndarray, "4"],
    here: _Evaluation,
    data: _Data,
    densities: _Densities,
) -> tuple[Float[np.ndarray, "4"], _Evaluation | None]:
    """Shorten the step until the likelihood does not fall and its slope along the step has not turned round.

    Where the observed information is twice the expected one, whole scoring steps would swing from side to side.
    """
    fraction = 1.0
    for _ in range(_SHORTENINGS):
        trial = np.clip(theta + step * fraction, densities.lowest, densities.highest)
        trial[2] = max(trial[2], 0.3 * theta[2])
        there = _evaluate(trial, data, densities)
        before, after = float(here.score @ (trial - theta)), float(there.score @ (trial - theta))
        risen = there.loglik >= here.loglik - _SPLINE_ERROR
        if risen and after >= -_TURNED * before:
            return trial, there
        fraction *= float(np.clip(before / (before - after), 0.1, 0.7)) if after < 0.0 < before else 0.5
    return theta, None


def _report(summit: _Summit, free: Bool[np.ndarray, "4"], data: _Data, n: int) -> StableFit:
    theta, here = summit.theta, summit.here
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = np.linalg.inv(here.information[np.ix_(free, free)]) / n
    stderr = np.sqrt(np.diag(covariance))
    low, high = _interval(theta, stderr)
    unit, shift = np.array([1.0, 1.0, data.scale, data.scale]), np.array([0.0, 0.0, 0.0, data.centre])
    ends = zip(shift + unit * theta, unit * stderr, shift + unit * low, shift + unit * high, strict=True)
    return StableFit(
        *(float(number) for parameter in ends for number in parameter),
        loglik=n * (here.loglik - float(np.log(data.scale))),
        n=n,
        status=Status.OK,
    )


def _interval(
    theta: Float[np.ndarray, "4"], stderr: Float[np.ndarray, "4"]
) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "4"]]:
    """Step 1.96 standard errors to both sides, on scales on which a standard error changes little with its parameter.

    Towards alpha 2 and beta ±1 standard errors shrink with the square root of the distance, so alpha / 2 moves as the
    square of a sine and beta as a sine; gamma moves as an exponential.
    """
    alpha, beta, gamma, delta = theta
    place = np.array([np.arcsin(np.sqrt(alpha / 2.0)), np.arcsin(beta), np.log(gamma), delta])
    slope = np.array([0.5 / np.sqrt(alpha * (2.0 - alpha)), 1.0 / np.sqrt(1.0 - beta**2), 1.0 / gamma, 1.0])
    ends = place + _NORMAL_95 * slope * stderr * np.array([[-1.0], [1.0]])
    angle = np.clip(ends[:, 0], 0.0, np.pi / 2.0), np.clip(ends[:, 1], -np.pi / 2.0, np.pi / 2.0)
    low, high = np.stack([2.0 * np.sin(angle[0]) ** 2, np.sin(angle[1]), np.exp(ends[:, 2]), ends[:, 3]], axis=1)
    return low, high


def _none(n: int, status: Status) -> StableFit:
    return StableFit(*[0.0] * 17, n=n, status=status)
