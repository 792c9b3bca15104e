r"""Tabulated laws: one interpolation in place of special functions, the same for every law.

The table holds $T = \log(-\log P(|X| > e^y))$. It is nearly straight in $y$ near zero, where
$P(|X| \le x) \propto x$, in a Gaussian's tail and in a power's, so that a coarse grid is exact to a millionth in all of
them and no probability underflows.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import factorial

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline, make_interp_spline

from gnoise.stats.laws.law import Law
from gnoise.stats.laws.scale_error import divided

GRID = np.concatenate([np.arange(-14.0, -3.0, 0.25), np.arange(-3.0, 3.0, 0.0625), np.arange(3.0, 34.25, 0.25)])
"""Where laws are tabulated, in log x at unit scale; closest where a Gaussian core may turn into another tail."""


@dataclass(frozen=True)
class Axis:
    """Cubic splines along one shape, looked up without SciPy's checks, which take longer at one point than the sum.

    Attributes:
        breaks: where one polynomial passes into the next, but for the last.
        taylor: of the four splines that are not 0 beyond each break, by power of the distance.
    """

    breaks: Float[np.ndarray, " breaks"]
    taylor: Float[np.ndarray, "breaks 4 splines"]

    def at(self, place: float) -> tuple[int, Float[np.ndarray, "2 splines"]]:
        """Return which is the first of the four splines at a place, their values there and their slopes."""
        first = max(int(np.searchsorted(self.breaks, place, side="right")) - 1, 0)
        h = place - self.breaks[first]
        return first, np.array([[1.0, h, h * h, h**3], [0.0, 1.0, 2.0 * h, 3.0 * h * h]]) @ self.taylor[first]


@dataclass(frozen=True)
class Table:
    """Cubic splines through a law's table.

    Attributes:
        knots: of each shape's axis, then of y.
        axes: of each shape.
        coefficients: one axis a shape, then y.
    """

    knots: tuple[np.ndarray, ...]
    axes: tuple[Axis, ...]
    coefficients: Float[np.ndarray, "..."]


@dataclass(frozen=True)
class Survival:
    """A law at some points.

    Attributes:
        log: log P(|X| > x).
        gradient: its derivatives by log x, then by each shape's coordinate.
    """

    log: Float[np.ndarray, " points"]
    gradient: Float[np.ndarray, "params points"]


@cache
def tabulate(law: Law, scale_values: int | None) -> Table:
    """Tabulate a law, or what is left of it after dividing by measured scales.

    Args:
        law: which.
        scale_values: values behind each scale it was divided by; ``None`` where it was not.
    """
    table = _exact(law)
    if scale_values is not None:
        table = divided(GRID, table.reshape(-1, GRID.size), scale_values).reshape(table.shape)
    knots: list[np.ndarray] = []
    for axis, grid in enumerate([*(shape.grid for shape in law.shapes), GRID]):
        spline = make_interp_spline(grid, np.moveaxis(table, axis, 0), k=3)
        knots.append(spline.t)
        table = np.moveaxis(spline.c, 0, axis)
    return Table(tuple(knots), tuple(_axis(of_shape) for of_shape in knots[:-1]), np.ascontiguousarray(table))


def _axis(knots: Float[np.ndarray, " knots"]) -> Axis:
    breaks, splines = knots[3:-4], knots.size - 4
    every = BSpline(knots, np.eye(splines), 3)
    powers = [np.asarray(every(breaks, power)) / factorial(power) for power in range(4)]
    near = np.arange(breaks.size)[:, None]
    return Axis(breaks, np.stack([taylor[near, near + np.arange(4)] for taylor in powers], axis=1))


@cache
def _exact(law: Law) -> Float[np.ndarray, "..."]:
    """Evaluate T at every point of a law's grid."""
    x = np.exp(GRID)
    grids = [[shape.backward(float(at)) for at in shape.grid] for shape in law.shapes]
    rows = [np.log(-law.log_survival(x, *shapes)) for shapes in product(*grids)]
    return np.stack(rows).reshape(*(len(grid) for grid in grids), GRID.size)


def evaluate(table: Table, y: Float[np.ndarray, " points"], shapes: Float[np.ndarray, " shapes"]) -> Survival:
    """Interpolate the table; beyond its ends T goes on straight.

    Args:
        table: of the law.
        y: log x at unit scale.
        shapes: coordinates within the law's grid.
    """
    inside = np.clip(y, GRID[0], GRID[-1])
    columns = [table.coefficients[..., used := _used(inside)]]
    for axis, at in zip(reversed(table.axes), reversed(shapes), strict=True):
        first, (value, slope) = axis.at(at)
        near = [column[..., first : first + 4, :] for column in columns]
        columns = [value @ near[0], slope @ near[0], *(value @ column for column in near[1:])]
    knots = table.knots[-1][used.start : used.stop + 4]
    spline = BSpline.construct_fast(knots, np.stack(columns, axis=-1), 3)
    values, slope = spline(inside), np.asarray(spline(inside, 1))[:, 0]
    log = -np.exp(np.minimum(values[:, 0] + slope * (y - inside), 700.0))
    return Survival(log, log * np.concatenate([slope[None], values[:, 1:].T]))


def evaluate_blocks(
    table: Table, y: Float[np.ndarray, "blocks points"], shapes: Float[np.ndarray, "blocks shapes"]
) -> Float[np.ndarray, "blocks points"]:
    """Interpolate log P(|X| > x) for several shapes at once, without gradients.

    Args:
        table: of the law.
        y: log x at unit scale, one row a block.
        shapes: coordinates within the law's grid, one row a block.
    """
    blocks = np.arange(y.shape[0])
    inside = np.clip(y, GRID[0], GRID[-1])
    used = _used(inside)
    columns = np.stack([_column(table.coefficients[..., used], table.axes, at) for at in shapes], axis=-1)
    knots = table.knots[-1][used.start : used.stop + 4]
    spline = BSpline.construct_fast(knots, columns, 3)
    values = spline(inside)[blocks, :, blocks]
    if (y != inside).any():
        values = values + np.asarray(spline(inside, 1))[blocks, :, blocks] * (y - inside)
    return -np.exp(np.minimum(values, 700.0))


def _column(
    coefficients: Float[np.ndarray, "... columns"], axes: tuple[Axis, ...], shapes: Float[np.ndarray, " shapes"]
) -> Float[np.ndarray, " columns"]:
    """Interpolate coefficients between shapes."""
    for axis, at in zip(reversed(axes), reversed(shapes), strict=True):
        first, (value, _) = axis.at(at)
        coefficients = value @ coefficients[..., first : first + 4, :]
    return coefficients


def _used(y: Float[np.ndarray, "..."]) -> slice:
    """Pick the columns of coefficients that points on the grid depend on."""
    first, last = np.searchsorted(GRID, [y.min(), y.max()])
    return slice(max(int(first) - 4, 0), min(int(last) + 4, GRID.size))
