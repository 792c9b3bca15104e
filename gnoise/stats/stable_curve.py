"""Logarithms of stable densities and their slopes as splines in asinh x, cheap at any number of points."""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from gnoise.stats.stable_gradient import gradient

LOWEST_ALPHA = 0.5
HIGHEST_ALPHA = 1.999
Curve = Callable[[Float[np.ndarray, " points"]], Float[np.ndarray, "4 points"]]
"""From x: the logarithm of a standard density, then its derivatives in alpha, beta and x."""

_EVEN = np.linspace(-1.0, 1.0, 121)
_INNER = 3.4 * (0.6 * _EVEN + 0.4 * _EVEN**3)  # closest where densities below alpha 1 are sharp
_OUTER = np.square(np.linspace(0.0, 1.0, 13)[1:])
_TABLE_END = 25.0
TABLE_Y = np.concatenate([_INNER[60:], _INNER[-1] + (_TABLE_END - _INNER[-1]) * np.square(np.linspace(0, 1, 31)[1:])])
"""From 0, in asinh x, closest where densities below alpha 1 are sharp."""
_DEGREE = 31
_SMALLEST = 1e-300


def skewed_curve(alpha: float, beta: float, left: float, right: float) -> Curve:
    """Integrate a density at some 140 points and spline it; beyond asinh x = 25 each tail is its power.

    Args:
        alpha: tail index in [0.5, 1.999].
        beta: skewness in (−1, 1).
        left: the curve reaches from −left in asinh x, at least 4,
        right: to right, at least 4.
    """
    outer_left, outer_right = min(left, _TABLE_END) + _INNER[0], min(right, _TABLE_END) - _INNER[-1]
    nodes = np.concatenate([_INNER[0] - outer_left * _OUTER[::-1], _INNER, _INNER[-1] + outer_right * _OUTER])
    return with_power_tails(CubicSpline(nodes, _log_slopes(nodes, alpha, beta), axis=1), alpha)


def symmetric_curve(alpha: float) -> Curve:
    r"""Look a symmetric density up in a table that is made once a process.

    The table holds polynomials of degree 31 in $-\log(2 - \alpha)$, in which the step from a Gaussian's flank to the
    tail is as smooth at 1.999 as at 1.5.

    Args:
        alpha: tail index in [0.5, 1.999].
    """
    basis = np.polynomial.chebyshev.chebvander(_chebyshev_place(alpha), _DEGREE)[0]
    level, by_alpha, by_y = np.tensordot(basis, _symmetric_table(), 1)
    half = np.stack([level, by_alpha, np.zeros(level.size), by_y])
    mirrored = half[:, :0:-1] * np.array([[1.0], [1.0], [1.0], [-1.0]])
    nodes = np.concatenate([-TABLE_Y[:0:-1], TABLE_Y])
    return with_power_tails(CubicSpline(nodes, np.concatenate([mirrored, half], axis=1), axis=1), alpha)


def with_power_tails(spline: Callable[[Float[np.ndarray, " points"]], np.ndarray], alpha: float) -> Curve:
    """Continue a spline in y = asinh x of (log density, slopes in alpha, beta and y) beyond |y| = 25.

    Args:
        spline: four rows of any points.
        alpha: tail index.
    """

    def curve(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, "4 points"]:
        y = np.arcsinh(x)
        near = np.clip(y, -_TABLE_END, _TABLE_END)
        beyond = np.abs(y - near)
        rows = spline(near)
        rows[0] -= (1.0 + alpha) * beyond
        rows[1] -= beyond
        rows[3] /= np.sqrt(1.0 + x * x)
        return rows

    return curve


def _log_slopes(y: Float[np.ndarray, " points"], alpha: float, beta: float) -> Float[np.ndarray, "4 points"]:
    law = gradient(np.sinh(y), alpha, beta)
    pdf = np.maximum(law.pdf, _SMALLEST)
    by_y = law.by_x * np.cosh(y)  # tends to a constant in the tails, unlike the slope in x
    return np.stack([np.log(pdf), law.by_alpha / pdf, law.by_beta / pdf, by_y / pdf])


@cache
def _symmetric_table() -> Float[np.ndarray, "degrees 3 nodes"]:
    """Interpolate level and slopes at Chebyshev's points of alpha."""
    points = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    low, high = -np.log(2.0 - np.array([LOWEST_ALPHA, HIGHEST_ALPHA]))
    alphas = 2.0 - np.exp(-(low + (high - low) * 0.5 * (1.0 + points)))
    rows = np.stack([_log_slopes(TABLE_Y, float(alpha), 0.0)[[0, 1, 3]] for alpha in alphas])
    table = np.linalg.solve(np.polynomial.chebyshev.chebvander(points, _DEGREE), rows.reshape(_DEGREE + 1, -1))
    return table.reshape(rows.shape)


def _chebyshev_place(alpha: float) -> float:
    low, high, here = -np.log(2.0 - np.array([LOWEST_ALPHA, HIGHEST_ALPHA, alpha]))
    return float(np.clip(2.0 * (here - low) / (high - low) - 1.0, -1.0, 1.0))
