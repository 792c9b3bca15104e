"""How fast the reference laws fall, in units of their own median |x|."""

import numpy as np
from jaxtyping import Float
from scipy.special import erfc, erfcinv

from gnoise.stats.stable import log_abs_cumulants

_GAUSSIAN_MEDIAN = float(erfcinv(0.5))
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


def _median(survival: Float[np.ndarray, " search"]) -> float:
    return float(np.exp(np.interp(-0.5, -survival, np.log(_SEARCH))))
