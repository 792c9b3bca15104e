"""How fast the reference laws fall, in units of their own median |x|."""

import numpy as np
from jaxtyping import Float
from scipy.special import erfc, erfcinv

from gnoise.stats.stable import log_abs_cumulants

_GAUSSIAN_MEDIAN = float(erfcinv(0.5))
_HALF = np.geomspace(1e-9, np.pi / 4.0, 1000)
_CLOSE_TO_CAUCHY = 1e-3
_SEARCH = np.geomspace(0.05, 50.0, 400)


def gaussian_survival(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Compute P(|X| > x) of a Gaussian whose median |X| is 1.

    Args:
        x: not negative.
    """
    return erfc(x * _GAUSSIAN_MEDIAN)


def cauchy_survival(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Compute P(|X| > x) of a Cauchy law whose median |X| is 1.

    Args:
        x: not negative.
    """
    return 2.0 / np.pi * np.arctan2(1.0, x)


def standardised_gaussian_survival(x: Float[np.ndarray, " points"], scale_pairs: int) -> Float[np.ndarray, " points"]:
    r"""Compute P(|X| > x) of Gaussian noise divided by a scale that was itself measured, median |X| 1.

    Dividing by the geometric mean of $K$ other values mixes scales: the log of its error has variance
    $\kappa_2/K$ and third cumulant $-\kappa_3/K^2$, the cumulants of $\log|X|$, here by Cornish–Fisher.
    At $K = 16$ one value in a thousand lies beyond 7 medians instead of 4.9: no heavy tail of the noise.

    Args:
        x: not negative.
        scale_pairs: $K$, at least 1.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    variance, third = log_abs_cumulants(2.0)
    spread = np.sqrt(variance / scale_pairs)
    skewness = -third / (scale_pairs**2 * spread**3)
    shrinking = np.exp(-spread * (nodes + skewness / 6.0 * (np.square(nodes) - 1.0)))

    def survival(points: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
        return erfc(np.outer(points, shrinking) * _GAUSSIAN_MEDIAN) @ (weights / weights.sum())

    return survival(x * _median(survival(_SEARCH)))


def stable_survival(x: Float[np.ndarray, " points"], alpha: float) -> Float[np.ndarray, " points"]:
    r"""Compute P(|X| > x) of the symmetric stable law whose median |X| is 1.

    $$P(|X| > x) = \frac{2}{\pi} \int_0^{\pi/2} \exp\left(-x^{\frac{\alpha}{\alpha-1}} V(\theta)\right)
      d\theta, \quad V = \left(\frac{\cos\theta}{\sin\alpha\theta}\right)^{\frac{\alpha}{\alpha-1}}
      \frac{\cos((\alpha-1)\theta)}{\cos\theta}$$

    for $\alpha > 1$, and 1 minus it for $\alpha < 1$; by the trapezoid rule on angles that crowd
    towards both ends, where the integrand changes. Within 1e-3 of $\alpha = 1$ it is the Cauchy law.

    Args:
        x: not negative.
        alpha: tail index in (0, 2].

    References:
        Nolan 2020, *Univariate stable distributions*, theorem 3.3, at beta 0.
    """
    if abs(alpha - 1.0) < _CLOSE_TO_CAUCHY:
        return cauchy_survival(x)
    return _stable(x * _median(_stable(_SEARCH, alpha)), alpha)


def _stable(x: Float[np.ndarray, " points"], alpha: float) -> Float[np.ndarray, " points"]:
    power = alpha / (alpha - 1.0)
    theta = np.concatenate([_HALF, np.pi / 2.0 - _HALF[::-1]])
    # cos(pi/2 - h) as sin h keeps all digits where the far tail is decided.
    cosine = np.concatenate([np.cos(_HALF), np.sin(_HALF[::-1])])
    sine = np.maximum(np.sin(alpha * theta), 1e-300)
    log_v = power * np.log(cosine / sine) + np.log(np.cos((alpha - 1.0) * theta) / cosine)
    exponent = power * np.log(np.maximum(x, 1e-300))[:, None] + log_v
    values = np.exp(-np.exp(np.minimum(exponent, 700.0)))
    share = 2.0 / np.pi * np.trapezoid(values, theta, axis=1)
    return np.clip(share if alpha > 1.0 else 1.0 - share, 0.0, 1.0)


def _median(survival: Float[np.ndarray, " search"]) -> float:
    return float(np.exp(np.interp(-0.5, -survival, np.log(_SEARCH))))
