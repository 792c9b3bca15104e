"""What dividing noise by a measured scale does to its law.

In the view across draws each entry was divided by the geometric mean of K other values of its own, so that even
Gaussian noise comes out with tails a Gaussian does not have. What was sketched is X / G with
log G the mean of K independent copies of log|X|, and every law's own G is known exactly.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

_STEP = 0.25
_NODES = np.arange(-8.0, 8.5, 0.5)
_FREQUENCIES = np.arange(0.0, 12.0, 0.2)
_TO_NODES = np.exp(-1j * np.outer(_NODES, _FREQUENCIES))


def scale_error(law: CubicSpline, scale_values: int) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    r"""Place quadrature nodes for $\eta = \log G - \mathrm{E}\log G$, the error of a measured scale.

    Its characteristic function is $\varphi(t/K)^K$ with $\varphi$ that of $\log|X|$, here integrated numerically;
    its density at nodes half a standard deviation apart, eight to either side, gives the weights.

    Args:
        law: $\log(-\log P(|X| > e^y))$ over y.
        scale_values: K, at least 1.
    """
    y = np.arange(law.x[0], law.x[-1], _STEP)
    complement = law(y)
    density = np.exp(complement - np.exp(complement)) * law(y, 1)
    mass = density / density.sum()
    centred = y - mass @ y
    spread = np.sqrt(mass @ np.square(centred) / scale_values)
    wave = np.exp(1j * np.outer(_FREQUENCIES / (spread * scale_values), centred)) @ mass
    half_first = np.where(_FREQUENCIES == 0.0, 0.5, 1.0)
    weights = np.maximum((_TO_NODES @ (half_first * wave**scale_values)).real, 0.0)
    return spread * _NODES, weights / weights.sum()


def divided(
    y: Float[np.ndarray, " grid"], complement: Float[np.ndarray, " grid"], scale_values: int
) -> Float[np.ndarray, " grid"]:
    r"""Compute the law of $X e^{-\eta}$: $P = \mathrm{E}_\eta P(|X| > e^{y + \eta})$.

    Args:
        y: grid of $\log x$.
        complement: $\log(-\log P(|X| > e^y))$ on it; straight beyond either end.
        scale_values: K, at least 1.

    Returns:
        The same as ``complement``, of the divided value.
    """
    law = CubicSpline(y, complement)
    nodes, weights = scale_error(law, scale_values)
    kept = weights > 0.0
    shifted = y[:, None] + nodes[kept]
    inside = np.clip(shifted, y[0], y[-1])
    slopes = law(y[[0, -1]], 1)
    at = law(inside) + np.where(shifted < y[0], slopes[0], slopes[1]) * (shifted - inside)
    log_survival = -np.exp(np.minimum(at, 700.0))
    below = -np.expm1(log_survival) @ weights[kept]
    largest = log_survival.max(axis=1)
    above = largest + np.log(np.exp(log_survival - largest[:, None]) @ weights[kept])
    return np.log(np.where(below < 0.5, -np.log1p(-np.minimum(below, 0.5)), -above))
