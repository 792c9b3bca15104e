"""Laws that noise may follow, symmetric around zero, fitted to the same bins and compared by blocks of draws.

A law is one file with ``LAW = Law(name, words, log_survival, shapes, special_cases)`` and one line in the list.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gnoise.errors import UserError
from gnoise.records import Sketch
from gnoise.stats.laws import (
    cauchy,
    contaminated,
    gaussian,
    generalised_gaussian,
    laplace,
    stable,
    student_t,
    voigt,
)
from gnoise.stats.laws.bins import FoldedBins, fold, fold_values
from gnoise.stats.laws.compare import Comparison, compare
from gnoise.stats.laws.fit import LawFit, fit_bins
from gnoise.stats.laws.law import Law
from gnoise.stats.laws.table import evaluate, tabulate
from gnoise.stats.plain import plain_values

LAWS: tuple[Law, ...] = (
    gaussian.LAW,
    laplace.LAW,
    cauchy.LAW,
    student_t.LAW,
    generalised_gaussian.LAW,
    voigt.LAW,
    contaminated.LAW,
    stable.LAW,
)
"""Every law that is compared, simplest first."""

Data = ArrayLike | Sketch


def fit_law(data: Data, law: str, *, centre: bool = False, scale_values: int | None = None) -> LawFit:
    """Fit one law to values, or to their sketch, by maximum likelihood on sixteen bins an octave of |x|.

    Args:
        data: plain values of any shape and scale, or a sketch; exact zeros take no part.
        law: a name from :data:`LAWS`.
        centre: take off the median first (plain values only).
        scale_values: where every value was divided by the geometric mean of K others of its own, that K:
            the law is then that of the noise, not of the quotient.

    Raises:
        UserError: no such law, a sketch to centre, or values that are not real numbers.
    """
    return fit_bins(_law(law), _fold([data], centre), _checked(scale_values))


def compare_laws(
    blocks: Sequence[Data] | Float[np.ndarray, "..."],
    *,
    centre: bool = False,
    scale_values: int | None = None,
) -> Comparison:
    """Compare all laws on blocks of values: what is independent of what is all the caller has to know.

    Args:
        blocks: three or more; values within one may depend on each other, e.g. entries of one gradient.
        centre: take off the median of all first (plain values only).
        scale_values: as in :func:`fit_law`.

    Raises:
        UserError: sketches to centre, sketches and plain values together, or values that are not real numbers.
    """
    if isinstance(blocks, Sketch | str) or (isinstance(blocks, np.ndarray) and blocks.ndim == 0):
        raise UserError(f"expected blocks, got {type(blocks).__name__}; try numpy.array_split(values, 8)")
    return compare(LAWS, _fold(blocks, centre), _checked(scale_values))


def law_survival(fit: LawFit, x: ArrayLike, *, scale_values: int | None = None) -> Float[np.ndarray, "..."]:
    """Evaluate P(|X| > x) of a fitted law, good to a thousandth of its logarithm.

    Args:
        fit: with parameters.
        x: in the units of the values, any shape; 1 at and below 0, and NaN stays NaN.
        scale_values: K, for the law of values divided by measured scales; ``None`` for that of the noise itself.

    Raises:
        UserError: the fit has no parameters.
    """
    if not fit.params:
        raise UserError(f"expected a fit with parameters, got none ({fit.status.advice}); try other values")
    law = _law(fit.law)
    shapes = np.array([shape.forward(fit.params[shape.name]) for shape in law.shapes])
    points = plain_values(x)
    survival = np.where(np.isnan(points), np.nan, 1.0)
    beyond = points > 0.0
    y = np.log(points[beyond]) - np.log(fit.params["scale"])
    if y.size:
        survival[beyond] = np.exp(evaluate(tabulate(law, _checked(scale_values)), y, shapes).log)
    return survival


def _checked(scale_values: int | None) -> int | None:
    if scale_values is None or (scale_values >= 1 and scale_values % 1 == 0):
        return scale_values
    raise UserError(f"expected scale_values of 1 or more, a whole number, got {scale_values}; try None")


def _law(name: str) -> Law:
    for law in LAWS:
        if law.name == name:
            return law
    raise UserError(f'expected a law, got "{name}"; try one of {", ".join(law.name for law in LAWS)}')


def _fold(blocks: Iterable[Data], centre: bool) -> FoldedBins:
    sketches: list[Sketch] = []
    values: list[ArrayLike] = []
    for block in blocks:
        if isinstance(block, Sketch):
            sketches.append(block)
        else:
            values.append(block)
    if sketches and (values or centre):
        raise UserError("expected plain values to centre, got sketches; try centre=False, and one kind of block")
    return fold(sketches) if sketches else fold_values(values, centre=centre)
