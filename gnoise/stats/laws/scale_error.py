"""What dividing noise by a measured scale does to its law.

In the view across draws each entry was divided by the geometric mean of K other values of its own, so that even
Gaussian noise comes out with tails a Gaussian does not have. What was sketched is X / G with
log G the mean of K independent copies of log|X|, and every law's own G is known exactly.
"""

import numpy as np
from jaxtyping import Complex, Float
from scipy.interpolate import CubicSpline, PPoly

_STEP = 0.25
_NODES = np.arange(-8.0, 8.5, 0.5)
_FREQUENCIES = np.arange(0.0, 12.0, 0.2)
_TO_NODES = np.exp(-1j * np.outer(_FREQUENCIES, _NODES))
_NO_MASS = 1e-20


def scale_errors(
    laws: CubicSpline, scale_values: int
) -> tuple[Float[np.ndarray, "laws nodes"], Float[np.ndarray, "laws nodes"]]:
    r"""Place quadrature nodes for $\eta = \log G - \mathrm{E}\log G$, the error of a measured scale.

    Its characteristic function is $\varphi(t/K)^K$ with $\varphi$ that of $\log|X|$, here integrated numerically;
    its density at nodes half a standard deviation apart, eight to either side, gives the weights.

    Args:
        laws: $\log(-\log P(|X| > e^y))$ over y, a law each.
        scale_values: K, at least 1.
    """
    y = np.arange(laws.x[0], laws.x[-1], _STEP)
    complement = laws(y)
    density = np.exp(complement - np.exp(complement)) * laws(y, 1)
    mass = density / density.sum(axis=1, keepdims=True)
    centred = y - (mass @ y)[:, None]
    spread = np.sqrt((mass * np.square(centred)).sum(axis=1, keepdims=True) / scale_values)
    frequencies = _FREQUENCIES / (spread * scale_values)
    wave = np.stack([_wave(*law) for law in zip(frequencies, centred, mass, strict=True)])
    half_first = np.where(_FREQUENCIES == 0.0, 0.5, 1.0)
    weights = np.maximum(np.real((half_first * wave**scale_values) @ _TO_NODES), 0.0)
    return spread * _NODES, weights / weights.sum(axis=1, keepdims=True)


def _wave(
    frequencies: Float[np.ndarray, " frequencies"], at: Float[np.ndarray, " points"], mass: Float[np.ndarray, " points"]
) -> Complex[np.ndarray, " frequencies"]:
    """Compute a characteristic function; most laws have nothing on most of a grid that must hold the widest."""
    some = mass > _NO_MASS
    angles = np.outer(frequencies, at[some])
    return np.cos(angles) @ mass[some] + 1j * (np.sin(angles) @ mass[some])


def divided(
    y: Float[np.ndarray, " grid"], complements: Float[np.ndarray, "laws grid"], scale_values: int
) -> Float[np.ndarray, "laws grid"]:
    r"""Compute the law of $X e^{-\eta}$: $P = \mathrm{E}_\eta P(|X| > e^{y + \eta})$.

    Args:
        y: grid of $\log x$.
        complements: $\log(-\log P(|X| > e^y))$ on it, a law each; straight beyond either end.
        scale_values: K, at least 1.

    Returns:
        The same as ``complements``, of the divided values.
    """
    laws = CubicSpline(y, complements, axis=1)
    nodes, weights = scale_errors(laws, scale_values)
    ends, pieces = _straight_beyond(laws, complements)
    kept = weights > 0.0
    rows = [
        _divided(
            PPoly.construct_fast(np.ascontiguousarray(pieces[:, :, row]), ends), y, nodes[row, some], weights[row, some]
        )
        for row, some in enumerate(kept)
    ]
    return np.stack(rows)


def _straight_beyond(
    laws: CubicSpline, values: Float[np.ndarray, "laws grid"]
) -> tuple[Float[np.ndarray, " ends"], Float[np.ndarray, "4 pieces laws"]]:
    """Add a straight piece at either end, which polynomials are continued with."""
    slopes = laws(laws.x[[0, -1]], 1)
    beyond = np.zeros((4, 2, len(values)))
    beyond[2], beyond[3] = slopes.T, values[:, [0, -1]].T
    beyond[3, 0] -= slopes[:, 0]  # the first piece begins 1 before the grid
    ends = np.concatenate([[laws.x[0] - 1.0], laws.x, [laws.x[-1] + 1.0]])
    return ends, np.concatenate([beyond[:, :1], laws.c, beyond[:, 1:]], axis=1)


def _divided(
    law: PPoly, y: Float[np.ndarray, " grid"], nodes: Float[np.ndarray, " kept"], weights: Float[np.ndarray, " kept"]
) -> Float[np.ndarray, " grid"]:
    """Average one law over the nodes, its logarithm on whichever side of the median is small."""
    log_survival = -np.exp(np.minimum(law(y[:, None] + nodes), 700.0))
    largest = log_survival.max(axis=1)
    above = largest + np.log(np.exp(log_survival - largest[:, None]) @ weights)
    low = np.exp(above) > 0.5
    below = -np.expm1(log_survival[low]) @ weights
    complement = -above
    complement[low] = -np.log1p(-below)
    return np.log(complement)
