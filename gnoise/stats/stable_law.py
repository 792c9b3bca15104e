"""Density, tails and quantiles of stable laws, to about 12 digits relative in every tail."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import erf, erfc

from gnoise.errors import UserError
from gnoise.stats.plain import plain_number, plain_values
from gnoise.stats.stable_integral import Integrals, integrate

Parameterization = Literal["S0", "S1"]

_SMALLEST_ALPHA = 0.5
_FARTHEST = 1e60  # beyond it the first term of the tail series is exact in float64
_FARTHEST_ASINH = 700.0
_SQUARED = 1e150  # its square is far from float64's end
_NEWTON_STEPS = 200
_CLOSE_ENOUGH = 4e-16


def stable_pdf(
    x: ArrayLike,
    alpha: float,
    beta: float,
    *,
    gamma: float = 1.0,
    delta: float = 0.0,
    parameterization: Parameterization = "S0",
) -> Float[np.ndarray, "..."]:
    r"""Compute the density of a stable law, with its far tails.

    Its characteristic function in S0, Nolan's continuous parameterization, is, with $s = \gamma |t|$,

    $$\varphi(t) = \exp\left(i \delta t - s^\alpha - i \beta \tan\tfrac{\pi\alpha}{2}\,
      \mathrm{sign}(t) (s - s^\alpha)\right)$$

    and its limit at $\alpha = 1$. Closed forms serve the Gaussian ($\alpha = 2$, standard deviation
    $\gamma\sqrt2$), Cauchy ($\alpha = 1$, $\beta = 0$) and Lévy ($\alpha = 1/2$, $\beta = \pm 1$) laws, an
    integral along the path of steepest descent the others; nothing is switched or rounded near $\alpha = 1$.

    Args:
        x: any shape; NaN stays NaN.
        alpha: tail index in [0.5, 2].
        beta: skewness in [−1, 1]; without meaning at alpha 2.
        gamma: scale, positive.
        delta: location.
        parameterization: ``S0``, or ``S1``, where delta is the mean for alpha > 1 but runs off near alpha 1.

    Raises:
        UserError: where a parameter is outside of its range, or something is not a number.

    References:
        Nolan 2020, *Univariate stable distributions*, definitions 1.3 and 1.4 and section 3.2.
    """
    z = _standardised(x, alpha, beta, gamma, delta, parameterization)
    return np.asarray(_standard(z, alpha, beta).pdf / gamma).reshape(z.shape)


def stable_cdf(
    x: ArrayLike,
    alpha: float,
    beta: float,
    *,
    gamma: float = 1.0,
    delta: float = 0.0,
    parameterization: Parameterization = "S0",
) -> Float[np.ndarray, "..."]:
    """Compute P(X ≤ x) of a stable law; the left tail keeps its relative precision.

    Args:
        x: any shape; NaN stays NaN.
        alpha: tail index in [0.5, 2].
        beta: skewness in [−1, 1].
        gamma: scale, positive.
        delta: location.
        parameterization: ``S0`` or ``S1``, as in :func:`stable_pdf`.

    Raises:
        UserError: where a parameter is outside of its range, or something is not a number.

    References:
        Nolan 2020, *Univariate stable distributions*, section 3.2.
    """
    z = _standardised(x, alpha, beta, gamma, delta, parameterization)
    return _standard(z, alpha, beta).cdf.reshape(z.shape)


def stable_sf(
    x: ArrayLike,
    alpha: float,
    beta: float,
    *,
    gamma: float = 1.0,
    delta: float = 0.0,
    parameterization: Parameterization = "S0",
) -> Float[np.ndarray, "..."]:
    """Compute P(X > x) of a stable law; the right tail keeps its relative precision.

    Args:
        x: any shape; NaN stays NaN.
        alpha: tail index in [0.5, 2].
        beta: skewness in [−1, 1].
        gamma: scale, positive.
        delta: location.
        parameterization: ``S0`` or ``S1``, as in :func:`stable_pdf`.

    Raises:
        UserError: where a parameter is outside of its range, or something is not a number.

    References:
        Nolan 2020, *Univariate stable distributions*, section 3.2.
    """
    z = _standardised(x, alpha, beta, gamma, delta, parameterization)
    return _standard(z, alpha, beta).sf.reshape(z.shape)


def stable_quantile(
    q: ArrayLike,
    alpha: float,
    beta: float,
    *,
    gamma: float = 1.0,
    delta: float = 0.0,
    parameterization: Parameterization = "S0",
) -> Float[np.ndarray, "..."]:
    """Invert the distribution function of a stable law.

    Newton's rule in asinh x on the logarithm of the nearer tail, which is straight where tails are powers.

    Args:
        q: probabilities in [0, 1], any shape; 0 and 1 give the ends of the support.
        alpha: tail index in [0.5, 2].
        beta: skewness in [−1, 1].
        gamma: scale, positive.
        delta: location.
        parameterization: ``S0`` or ``S1``, as in :func:`stable_pdf`.

    Raises:
        UserError: where a parameter or probability is outside of its range, or something is not a number.
    """
    levels = plain_values(q)
    if not np.all((levels >= 0.0) & (levels <= 1.0)):
        raise UserError("expected probabilities from 0 to 1, got others; try counting in units of 1, not of percent")
    shift = _shift(alpha, beta, gamma, delta, parameterization)
    flat = levels.reshape(-1)
    z = np.where(flat < 0.5, -np.inf, np.inf)
    if alpha < 1.0 and abs(beta) == 1.0:
        z = np.where(z * beta < 0.0, -beta / np.tan(np.pi * (1.0 - alpha) / 2.0), z)
    inner = (flat > 0.0) & (flat < 1.0)
    z[inner] = _inverse(flat[inner], alpha, beta)
    return (shift + gamma * z).reshape(levels.shape)


def _shift(alpha: float, beta: float, gamma: float, delta: float, parameterization: Parameterization) -> float:
    """Check the parameters; return the location in S0."""
    for name, number in (("alpha", alpha), ("beta", beta), ("gamma", gamma), ("delta", delta)):
        plain_number(name, number)
    if not _SMALLEST_ALPHA <= alpha <= 2.0:
        raise UserError(f"expected alpha from 0.5 to 2, got {alpha}; try the nearest value in that range")
    if not -1.0 <= beta <= 1.0:
        raise UserError(f"expected beta from −1 to 1, got {beta}; try the nearest value in that range")
    if not 0.0 < gamma < np.inf:
        raise UserError(f"expected a positive, finite gamma, got {gamma}; try the scale of the values")
    if not np.isfinite(delta):
        raise UserError(f"expected a finite delta, got {delta}; try the centre of the values")
    if parameterization not in get_args(Parameterization):
        raise UserError(f'expected parameterization "S0" or "S1", got "{parameterization}"; try "S0"')
    if parameterization == "S0" or beta == 0.0 or alpha == 2.0:
        return delta
    if alpha == 1.0:
        return delta + beta * gamma * 2.0 / np.pi * float(np.log(gamma))
    return delta - beta * gamma / float(np.tan(np.pi * (alpha - 1.0) / 2.0))


def _standardised(
    x: ArrayLike,
    alpha: float,
    beta: float,
    gamma: float,
    delta: float,
    parameterization: Parameterization,
) -> Float[np.ndarray, "..."]:
    shift = _shift(alpha, beta, gamma, delta, parameterization)
    with np.errstate(over="ignore"):
        return np.asarray((plain_values(x) - shift) / gamma)


def _standard(z: Float[np.ndarray, "..."], alpha: float, beta: float) -> Integrals:
    """Evaluate the standard law at a flat copy of ``z``."""
    x = z.reshape(-1)
    if alpha == 2.0:
        x = np.clip(x, -_SQUARED, _SQUARED)
        return Integrals(np.exp(-0.25 * x * x) / np.sqrt(4.0 * np.pi), 0.5 * erfc(0.5 * x), 0.5 * erfc(-0.5 * x))
    if alpha == 1.0 and beta == 0.0:
        square = np.square(np.clip(x, -_SQUARED, _SQUARED))
        return Integrals(1.0 / (np.pi * (1.0 + square)), np.arctan2(1.0, x) / np.pi, np.arctan2(1.0, -x) / np.pi)
    if alpha == 0.5 and abs(beta) == 1.0:
        return _levy(x, beta)
    known = ~np.isnan(x)
    near = np.clip(x[known], -_FARTHEST, _FARTHEST)
    beyond = np.maximum(np.abs(x[known]) / _FARTHEST, 1.0) ** -alpha
    inner = integrate(near, alpha, beta)
    result = Integrals(np.full(x.size, np.nan), np.full(x.size, np.nan), np.full(x.size, np.nan))
    result.pdf[known] = inner.pdf * beyond ** (1.0 + 1.0 / alpha)
    result.sf[known] = np.where(near > 0.0, inner.sf * beyond, inner.sf)
    result.cdf[known] = np.where(near < 0.0, inner.cdf * beyond, inner.cdf)
    return result


def _levy(x: Float[np.ndarray, " points"], beta: float) -> Integrals:
    inside = 1.0 + beta * x
    half = 0.5 / np.where(inside > 0.0, inside, np.nan)
    root = np.sqrt(half)
    pdf = np.where(inside > 0.0, 2.0 / np.sqrt(np.pi) * root**3 * np.exp(-half), 0.0)
    outer = np.where(inside > 0.0, erf(root), 1.0)
    inner = np.where(inside > 0.0, erfc(root), 0.0)
    unknown = np.where(np.isnan(x), np.nan, 0.0)
    sf, cdf = (outer, inner) if beta > 0.0 else (inner, outer)
    return Integrals(pdf + unknown, sf + unknown, cdf + unknown)


def _inverse(q: Float[np.ndarray, " points"], alpha: float, beta: float) -> Float[np.ndarray, " points"]:
    """Solve for asinh x inside brackets that shrink with every step."""
    left = q < 0.5
    target = np.log(np.where(left, q, 1.0 - q))
    y = np.zeros(q.size)
    low, high = np.full(q.size, -_FARTHEST_ASINH), np.full(q.size, _FARTHEST_ASINH)
    open_points = np.arange(q.size)
    for _ in range(_NEWTON_STEPS):
        if open_points.size == 0:
            break
        at, side = y[open_points], left[open_points]
        values = _standard(np.sinh(at), alpha, beta)
        tail = np.where(side, values.cdf, values.sf)
        log_tail = np.log(np.maximum(tail, 1e-320))
        excess = np.where(side, 1.0, -1.0) * (log_tail - target[open_points])
        low[open_points] = np.where(excess <= 0.0, at, low[open_points])
        high[open_points] = np.where(excess >= 0.0, at, high[open_points])
        slope = values.pdf * np.cosh(at)
        usable = (slope > 0.0) & (tail > 0.0)
        trial = at - np.divide(excess * tail, slope, out=np.full(at.size, np.inf), where=usable)
        inside = (trial > low[open_points]) & (trial < high[open_points])
        y[open_points] = np.where(inside, trial, 0.5 * (low[open_points] + high[open_points]))
        moved = np.abs(y[open_points] - at)
        open_points = open_points[moved > _CLOSE_ENOUGH * np.maximum(np.abs(at), 1e-3)]
    return np.sinh(y)
