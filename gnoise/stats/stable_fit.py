"""Fit all four parameters of a stable law by maximum likelihood, from values or from their sketch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline

from gnoise.records import Sketch, Status
from gnoise.stats.sketch import bucket_edges, quantiles, total
from gnoise.stats.stable_integral import gradient

_QUARTILES = np.array([0.25, 0.5, 0.75])
_FREQUENCIES = np.linspace(0.1, 1.0, 10)
_FEWEST_VALUES = 50
_BINS = 2048
_LOWEST = np.array([0.5, -0.999, 1e-3, -1e3])  # of alpha, beta, gamma, delta in units of half the quartile range
_HIGHEST = np.array([1.999, 0.999, 1e3, 1e3])
_STEPS = 20
_SETTLED = 2e-2  # standard errors that another step would move by
_ACCEPTED = 0.05
_SPLINE_ERROR = 1e-5  # of the log likelihood per value; the score decides below it
_NORMAL_95 = 1.959963984540054
_EVEN = np.linspace(-1.0, 1.0, 61)
_INNER = 3.2 * (0.6 * _EVEN + 0.4 * _EVEN**3)  # nodes in asinh, closest where densities below alpha 1 are sharp
_OUTER = np.square(np.linspace(0.0, 1.0, 10)[1:])
_INFORMATION_GRID = 600


@dataclass(frozen=True)
class StableFit:
    """A stable law (S0) fitted by maximum likelihood, or why there is none.

    Standard errors and 95% ends are those of independent values. Entries of one gradient are not
    independent: compare blocks of draws for an interval that a layer's number can carry.

    Attributes:
        alpha: tail index in [0.5, 1.999]; at the upper end the values are Gaussian as far as they can tell.
        beta: skewness in [−0.999, 0.999]; nothing is known about it as alpha nears 2.
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
class _Evaluation:
    """Log likelihood, its gradient and the expected information, per value."""

    loglik: float
    score: Float[np.ndarray, "4"]
    information: Float[np.ndarray, "4 4"]


def fit_stable(values_or_sketch: Float[np.ndarray, "..."] | Sketch, *, symmetric: bool = False) -> StableFit:
    r"""Fit (alpha, beta, gamma, delta) of a stable law by maximum likelihood.

    Starts from Kogon and Williams' regression on the characteristic function, with its phase for beta and
    delta; then Fisher scoring

    $$\theta \leftarrow \theta + I(\theta)^{-1} \frac1n \sum_k c_k\, \dot\ell(z_k; \theta)$$

    on values gathered into at most 2,048 bins even in asinh, each at its mean. Densities and their derivatives are
    integrated at some 70 points a step and splined. The fit has settled when another step would move no
    parameter by a fiftieth of its standard error; one that stops with more than a twentieth left is refused.

    Args:
        values_or_sketch: plain values of any shape, or a sketch (whose exact zeros take no part).
        symmetric: hold beta at 0.

    References:
        Kogon & Williams 1998, *Characteristic function based estimation of stable distribution parameters*.
        DuMouchel 1973, *On the asymptotic normality of the maximum-likelihood estimate when sampling from a
        stable distribution*, Annals of Statistics 1(5).
    """
    n, problem = _problem(values_or_sketch)
    if problem is not Status.OK:
        return _none(n, problem)
    data = _data_of_sketch(values_or_sketch) if isinstance(values_or_sketch, Sketch) else _data(values_or_sketch)
    if data is None:
        return _none(n, Status.CONSTANT)
    free = np.array([True, not symmetric, True, True])
    theta = _start(data, free)
    here, left = _evaluate(theta, data), np.inf
    for _ in range(_STEPS):
        step, moving = _step(theta, here, free)
        left = float(np.max(np.abs(step) * np.sqrt(n * np.diag(here.information)), where=moving, initial=0.0))
        if left < _SETTLED:
            break
        trial, there = _improve(theta, step, here, data)
        if there is None:
            break
        theta, here = trial, there
    if left > _ACCEPTED:
        return _none(n, Status.NOT_CONVERGED)
    return _report(theta, here, free, data, n)


def _problem(values_or_sketch: Float[np.ndarray, "..."] | Sketch) -> tuple[int, Status]:
    """Count what can take part; say why nothing can be fitted, ``OK`` where something can."""
    if isinstance(values_or_sketch, Sketch):
        n = total(values_or_sketch)
        zeros = n == 0 and values_or_sketch.zeros > 0
        finite, constant = values_or_sketch.nonfinite == 0, values_or_sketch.buckets.size == 1
    else:
        n, finite = values_or_sketch.size, bool(np.isfinite(values_or_sketch).all())
        zeros = n > 0 and not values_or_sketch.any()
        constant = n > 0 and bool(values_or_sketch.min() == values_or_sketch.max())
    if not finite:
        return n, Status.NON_FINITE
    if zeros:
        return n, Status.ALL_ZERO
    if constant:
        return n, Status.CONSTANT
    return n, Status.TOO_FEW_VALUES if n < _FEWEST_VALUES else Status.OK


def _data(values: Float[np.ndarray, "..."]) -> _Data | None:
    flat = values.reshape(-1).astype(np.float64)
    low, centre, high = np.quantile(flat, _QUARTILES)
    if high <= low:
        return None
    scale = 0.5 * float(high - low)
    return _binned((flat - centre) / scale, np.ones(flat.size), float(centre), scale)


def _data_of_sketch(sketch: Sketch) -> _Data | None:
    low, centre, high = quantiles(sketch, _QUARTILES)
    if high <= low:
        return None
    lower, upper = bucket_edges(sketch.buckets)
    scale = 0.5 * float(high - low)
    z = (0.5 * (lower + upper) - centre) / scale
    return _binned(z, sketch.counts.astype(np.float64), float(centre), scale)


def _binned(z: Float[np.ndarray, " any"], counts: Float[np.ndarray, " any"], centre: float, scale: float) -> _Data:
    """Gather values into bins even in asinh, each at the mean of what it holds."""
    if z.size <= _BINS:
        return _Data(centre, scale, z, counts)
    y = np.arcsinh(z)
    bins = np.minimum(((y - y.min()) * (_BINS / (y.max() - y.min()))).astype(np.int64), _BINS - 1)
    held = np.bincount(bins, counts, _BINS)
    sums = np.bincount(bins, counts * z, _BINS)
    return _Data(centre, scale, sums[held > 0] / held[held > 0], held[held > 0])


def _start(data: _Data, free: Bool[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Regress the logarithm of the characteristic function: modulus for alpha and gamma, phase for the rest."""
    cf = np.exp(1j * np.outer(_FREQUENCIES, data.z)) @ (data.counts / data.counts.sum())
    modulus = np.clip(np.abs(cf), 1e-3, 1.0 - 1e-6)
    alpha, level = np.polyfit(np.log(_FREQUENCIES), np.log(-np.log(modulus)), 1)
    gamma = float(np.exp(level / alpha))
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


def _evaluate(theta: Float[np.ndarray, "4"], data: _Data) -> _Evaluation:
    alpha, beta, gamma, delta = theta
    y = np.arcsinh((data.z - delta) / gamma)
    reach = 1.0 + 9.2 / alpha  # one value in 10,000 lies farther, whatever was seen
    left, right = max(reach, -float(y.min())) + 0.1, max(reach, float(y.max())) + 0.1
    left_nodes, right_nodes = _INNER[0] - (left + _INNER[0]) * _OUTER[::-1], _INNER[-1] + (right - _INNER[-1]) * _OUTER
    nodes = np.concatenate([left_nodes, _INNER, right_nodes])
    law = gradient(np.sinh(nodes), float(alpha), float(beta))
    pdf = np.maximum(law.pdf, 1e-300)
    by_y = law.by_x * np.cosh(nodes)  # tends to a constant in the tails, unlike the slope in x
    spline = CubicSpline(nodes, np.stack([np.log(pdf), law.by_alpha / pdf, law.by_beta / pdf, by_y / pdf]), axis=1)
    table = spline(y)
    share = data.counts / data.counts.sum()
    grid = np.linspace(-left, right, _INFORMATION_GRID)
    at_grid = spline(grid)
    scores = _scores(at_grid, grid, gamma)
    mass = np.exp(at_grid[0]) * np.cosh(grid) * (grid[1] - grid[0])
    return _Evaluation(
        loglik=float(share @ table[0] - np.log(gamma)),
        score=_scores(table, y, gamma) @ share,
        information=(scores * mass) @ scores.T,
    )


def _scores(
    table: Float[np.ndarray, "4 points"], y: Float[np.ndarray, " points"], gamma: float
) -> Float[np.ndarray, "4 points"]:
    location, scale = -table[3] / np.cosh(y), -(1.0 + np.tanh(y) * table[3])
    return np.stack([table[1], table[2], scale / gamma, location / gamma])


def _step(
    theta: Float[np.ndarray, "4"], here: _Evaluation, free: Bool[np.ndarray, "4"]
) -> tuple[Float[np.ndarray, "4"], Bool[np.ndarray, "4"]]:
    """Solve for the scoring step of the parameters that are neither held nor pushed against an end."""
    moving = free.copy()
    step = np.zeros(4)
    for _ in range(theta.size):
        step[:] = 0.0
        step[moving] = np.linalg.solve(here.information[np.ix_(moving, moving)], here.score[moving])
        pushed = moving & (((theta <= _LOWEST) & (step < 0.0)) | ((theta >= _HIGHEST) & (step > 0.0)))
        if not pushed.any():
            break
        moving &= ~pushed
        moving[1] &= not pushed[0]  # a Gaussian has no skewness to look for
    return step, moving


def _improve(
    theta: Float[np.ndarray, "4"], step: Float[np.ndarray, "4"], here: _Evaluation, data: _Data
) -> tuple[Float[np.ndarray, "4"], _Evaluation | None]:
    """Shorten the step until the likelihood does not fall."""
    for halving in range(8):
        trial = np.clip(theta + step * 0.5**halving, _LOWEST, _HIGHEST)
        trial[2] = max(trial[2], 0.3 * theta[2])
        there = _evaluate(trial, data)
        if there.loglik >= here.loglik - _SPLINE_ERROR:
            return trial, there
    return theta, None


def _report(
    theta: Float[np.ndarray, "4"], here: _Evaluation, free: Bool[np.ndarray, "4"], data: _Data, n: int
) -> StableFit:
    covariance = np.zeros((4, 4))
    covariance[np.ix_(free, free)] = np.linalg.inv(here.information[np.ix_(free, free)]) / n
    stderr = np.sqrt(np.diag(covariance))
    half = _NORMAL_95 * stderr
    alpha, beta, gamma, delta = (float(value) for value in theta)
    growth = float(np.exp(half[2] / gamma))
    return StableFit(
        alpha=alpha,
        alpha_stderr=float(stderr[0]),
        alpha_low=max(alpha - float(half[0]), 0.0),
        alpha_high=min(alpha + float(half[0]), 2.0),
        beta=beta,
        beta_stderr=float(stderr[1]),
        beta_low=max(beta - float(half[1]), -1.0),
        beta_high=min(beta + float(half[1]), 1.0),
        gamma=gamma * data.scale,
        gamma_stderr=float(stderr[2]) * data.scale,
        gamma_low=gamma * data.scale / growth,
        gamma_high=gamma * data.scale * growth,
        delta=data.centre + delta * data.scale,
        delta_stderr=float(stderr[3]) * data.scale,
        delta_low=data.centre + (delta - float(half[3])) * data.scale,
        delta_high=data.centre + (delta + float(half[3])) * data.scale,
        loglik=n * (here.loglik - float(np.log(data.scale))),
        n=n,
        status=Status.OK,
    )


def _none(n: int, status: Status) -> StableFit:
    return StableFit(*[0.0] * 17, n=n, status=status)
