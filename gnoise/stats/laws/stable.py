"""Symmetric stable: the laws that sums of themselves keep."""

import numpy as np
from jaxtyping import Float

from gnoise.stats.laws import cauchy
from gnoise.stats.laws.law import Law, Shape

_CLOSE_TO_CAUCHY = 1e-3
_REACH = 100.0
_STEP = 0.125
_NOTHING, _EVERYTHING = 6.7, 38.0
"""Below e^-e^6.7 there is no float; closer than e^-38 to 1 neither."""


def log_survival(x: Float[np.ndarray, " points"], alpha: float) -> Float[np.ndarray, " points"]:
    r"""Compute log P(|X| > x) of the symmetric stable law with characteristic function $e^{-|t|^\alpha}$.

    $$P(|X| > x) = \frac2\pi \int_0^{\pi/2} K\left(x^{\frac{\alpha}{\alpha-1}} V(\theta)\right) d\theta, \quad
      V = \left(\frac{\cos\theta}{\sin\alpha\theta}\right)^{\frac{\alpha}{\alpha-1}}
      \frac{\cos((\alpha-1)\theta)}{\cos\theta}$$

    with $K(v) = e^{-v}$ for $\alpha > 1$ and $1 - e^{-v}$ for $\alpha < 1$. In $\theta = \tfrac\pi2
    (1 + e^{-s})^{-1}$ the integrand is analytic and dies out at both ends, so that the trapezoid rule
    converges exponentially and all $x$ share its points. Within 1e-3 of $\alpha = 1$ it is the Cauchy law.

    Args:
        x: positive, ascending.
        alpha: tail index in (0, 2).

    References:
        Nolan 2020, *Univariate stable distributions*, theorem 3.3, at beta 0.
    """
    if abs(alpha - 1.0) < _CLOSE_TO_CAUCHY:
        return cauchy.log_survival(x)
    power = alpha / (alpha - 1.0)
    step = _STEP / (1.0 + 0.25 * abs(power))
    s = np.arange(-_REACH, _REACH, step)
    theta, rest = np.pi / 2.0 / (1.0 + np.exp(-s)), np.pi / 2.0 / (1.0 + np.exp(s))
    short = (2.0 - alpha) * np.pi / 2.0  # what α θ lacks to π at the end, kept apart for its digits
    near_start = theta < rest
    sine = np.where(near_start, np.sin(alpha * theta), np.sin(alpha * rest + short))
    cosine = np.where(near_start, np.cos((alpha - 1.0) * theta), np.sin((alpha - 1.0) * rest + short))
    log_v = power * np.log(np.sin(rest) / sine) + np.log(cosine / np.sin(rest))
    weights = 4.0 / np.pi**2 * theta * rest * step
    # K rises along s, and is 0 or 1 to the last digit outside a window that x moves.
    rising, shift = (-log_v, power * np.log(x)) if alpha > 1.0 else (log_v, -power * np.log(x))
    starts = np.searchsorted(rising, shift - _NOTHING) if alpha > 1.0 else np.zeros(x.size, np.int64)
    ends = np.searchsorted(rising, shift + _EVERYTHING)
    beyond = np.append(np.cumsum(weights[::-1])[::-1], 0.0)

    def survival(place: float, window: slice) -> float:
        away = rising[window] - place
        inside = np.exp(-np.exp(-away)) if alpha > 1.0 else -np.expm1(-np.exp(away))
        return float(inside @ weights[window] + beyond[window.stop])

    windows = [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    return np.log([survival(float(place), window) for place, window in zip(shift, windows, strict=True)])


def _to_search(alpha: float) -> float:
    return float(np.log(2.0 / alpha - 1.0))


def _from_search(value: float) -> float:
    return 2.0 / (1.0 + float(np.exp(value)))


LAW = Law(
    "stable",
    "symmetric stable",
    log_survival,
    shapes=(Shape("alpha", 1.9999, 0.5, 48, _to_search, _from_search),),
    special_cases=("gaussian", "cauchy"),
)
