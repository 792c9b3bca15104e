r"""Log densities of stable laws and their slopes from a table that ships with gnoise.

The table holds Chebyshev coefficients, in $-\log(2 - \alpha)$ and $\mathrm{artanh}\,\beta$, of the log density at fixed
places relative to the law's peak, where it bends most: there it moves little with the parameters. Slopes come from
differentiating the series and the spline. ``benchmarks/stable_table.py`` makes the table and says how good it is: up
to a million values, fits on it and fits on integrals differ by a few hundredths of a standard error.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from numpy.polynomial import chebyshev
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from gnoise.stats.stable_curve import HIGHEST_ALPHA, TABLE_Y, Curve, with_power_tails

PANELS = np.array([0.7, 1.2, HIGHEST_ALPHA])
"""Ends of the ranges of alpha that have their own coefficients; below the first nothing is tabled."""
HIGHEST_TABLED_BETA = 0.94
NODES = np.concatenate([-TABLE_Y[:0:-1], TABLE_Y])
"""Places of the table: asinh of the distance from the peak."""

_PLACES = -np.log(2.0 - PANELS)
_BETA_PLACE = np.arctanh(0.95)  # the slope of a series is poor at its very end
_PEAK = np.polynomial.Polynomial([0.488, -5.374, 7.243, -3.541, 0.601])
_PEAK_BEND = np.polynomial.Polynomial([-0.906, 3.893, -4.686, 2.231, -0.374])


def alpha_at(place: float, panel: int) -> float:
    """Name the alpha of a place in [−1, 1] of a panel."""
    low, high = _PLACES[panel : panel + 2]
    return float(2.0 - np.exp(-(low + (high - low) * 0.5 * (1.0 + place))))


def beta_at(place: float) -> float:
    """Name the beta of a place in [−1, 1] of every panel."""
    return float(np.tanh(_BETA_PLACE * place))


def peak(alpha: float, beta: float) -> tuple[float, float, float]:
    """Locate a standard density's peak to 0.02, with the derivatives of that formula in alpha and beta."""
    straight, bend = float(_PEAK(alpha)), float(_PEAK_BEND(alpha))
    by_alpha = beta * float(_PEAK.deriv()(alpha) + _PEAK_BEND.deriv()(alpha) * beta**2)
    return beta * (straight + bend * beta**2), by_alpha, straight + 3.0 * bend * beta**2


def tabled_curve(alpha: float, beta: float) -> Curve:
    """Look a density up.

    Args:
        alpha: tail index in [0.7, 1.999].
        beta: skewness in [−0.94, 0.94].
    """
    rows = _rows(alpha, beta)
    slopes = rows @ _slopes().T
    rows, slopes = np.vstack([rows, slopes[:1]]), np.vstack([slopes, slopes[:1] @ _slopes().T])
    about_peak = with_power_tails(CubicHermiteSpline(NODES, rows, slopes, axis=1), alpha)
    place, by_alpha, by_beta = peak(alpha, beta)

    def curve(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, "4 points"]:
        found = about_peak(x - place)
        found[1] -= by_alpha * found[3]
        found[2] -= by_beta * found[3]
        return found

    return curve


def _rows(alpha: float, beta: float) -> Float[np.ndarray, "3 nodes"]:
    """Sum the series for the logarithm of the density and its derivatives in alpha and beta at fixed distances."""
    panel = int(alpha > PANELS[1])
    table, (low, high) = _table()[panel], _PLACES[panel : panel + 2]
    along_place, along_rate = (
        (-np.log(2.0 - alpha) - low) / (high - low) * 2.0 - 1.0,
        2.0 / (high - low) / (2.0 - alpha),
    )
    along = _basis(along_place, along_rate, len(table))
    across = _basis(np.arctanh(beta) / _BETA_PLACE, 1.0 / (_BETA_PLACE * (1.0 - beta**2)), table.shape[1])
    level, by_alpha = np.tensordot(along, table, 1)
    mirror = (-1.0) ** np.arange(table.shape[1])  # of x and beta
    right, left = (
        np.stack([side[0] @ level, side[0] @ by_alpha, side[1] @ level]) for side in (across, across * mirror)
    )
    return np.concatenate([left[:, :0:-1], right], axis=1)


def _basis(place: float, rate: float, degrees: int) -> Float[np.ndarray, "2 degrees"]:
    """Evaluate Chebyshev's polynomials at a place that moves at some rate, and how fast they change."""
    values = chebyshev.chebvander(np.clip(place, -1.0, 1.0), degrees - 1)[0]
    return np.stack([values, rate * (_differentiation(degrees) @ values)])


@cache
def _differentiation(degrees: int) -> Float[np.ndarray, "degrees degrees"]:
    return np.vstack([chebyshev.chebder(np.eye(degrees)), np.zeros((1, degrees))]).T


@cache
def _slopes() -> Float[np.ndarray, "nodes nodes"]:
    """The matrix from values at the nodes to slopes of their cubic spline."""
    return CubicSpline(NODES, np.eye(NODES.size))(NODES, 1)


@cache
def _table() -> Float[np.ndarray, "panels alpha_degrees beta_degrees half_nodes"]:
    """Read the shipped coefficients, at the peak and to the right of it."""
    with files("gnoise.stats").joinpath("stable_table.npz").open("rb") as file, np.load(file) as stored:
        return stored["coefficients"].astype(np.float64)
