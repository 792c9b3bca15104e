"""What a law is: a name, its shapes, and how fast its tail falls."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit


@dataclass(frozen=True)
class Shape:
    """One shape parameter and the even grid on which a law is tabulated along it.

    Attributes:
        name: as it stands in :attr:`LawFit.params`.
        low: end of its range that lies at the start of the grid.
        high: the other end; the law changes little beyond either.
        points: of the grid.
        forward: maps the parameter to the coordinate in which the grid is even and the fit searches.
        backward: its inverse.
    """

    name: str
    low: float
    high: float
    points: int
    forward: Callable[[float], float]
    backward: Callable[[float], float]

    @property
    def grid(self) -> Float[np.ndarray, " points"]:
        """Even points between the two ends, in the coordinate of the fit."""
        return np.linspace(self.forward(self.low), self.forward(self.high), self.points)


@dataclass(frozen=True)
class Law:
    """A law that is symmetric around zero.

    Attributes:
        name: as it stands in verdicts.
        words: for people.
        log_survival: ``log P(|X| > x)`` at unit scale, of ascending ``x`` from 8e-7 to 6e14 and of one value a
            shape; finite even where the probability itself underflows.
        shapes: its parameters beside the scale.
        special_cases: names of the laws it contains, as ends or inside of its range.
    """

    name: str
    words: str
    log_survival: Callable[..., Float[np.ndarray, " points"]]
    shapes: tuple[Shape, ...] = ()
    special_cases: tuple[str, ...] = ()

    @property
    def n_params(self) -> int:
        """Parameters a fit chooses: the scale and the shapes."""
        return 1 + len(self.shapes)


def in_log(name: str, low: float, high: float, points: int) -> Shape:
    """Make a positive shape parameter, searched in its logarithm."""
    return Shape(name, low, high, points, _log, _exp)


def in_logit(name: str, low: float, high: float, points: int) -> Shape:
    """Make a share as a shape parameter, searched in its log odds."""
    return Shape(name, low, high, points, _logit, _expit)


def _log(value: float) -> float:
    return float(np.log(value))


def _exp(value: float) -> float:
    return float(np.exp(value))


def _logit(value: float) -> float:
    return float(logit(value))


def _expit(value: float) -> float:
    return float(expit(value))
