"""Localization of plain arrays, without a model, a run or torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gnoise.errors import UserError
from gnoise.records import Estimate, Verdict
from gnoise.stats.localization import estimate_localization, loud_pairs
from gnoise.stats.localization_verdict import TypicalPair, typical_pair
from gnoise.stats.noise_matrix import matrix_sample
from gnoise.stats.plain import plain_values
from gnoise.stats.statistic import Subject


@dataclass(frozen=True)
class Localization:
    """Where noise sits, and the numbers that say so.

    Attributes:
        verdict: the answer, its runner-up, the p-value of ``bulk``, and names in the note.
        typical: medians over matrices with their p-values; ``None`` where there is no verdict.
        estimates: means over matrices with intervals; without a number where there is a single matrix.
    """

    verdict: Verdict
    typical: TypicalPair | None
    estimates: tuple[Estimate, ...]


def localize(noise: ArrayLike, *, row_labels: tuple[str, ...] = (), seed: int = 0) -> Localization:
    """Say whether noise sits in rows, columns, few directions, single entries, or everywhere.

    Args:
        noise: one noise matrix, or several independent ones of the same layer, of any scale and number type;
            without a mean, such as half the difference of two draws times √2.
        row_labels: a name for each row.
        seed: of the permutations, and of the block a large matrix's bulk is read from.

    Raises:
        UserError: these are not real numbers, or neither a matrix nor a stack of them.
    """
    given = plain_values(noise)
    if given.ndim not in (2, 3) or 0 in given.shape:
        raise UserError(
            f"expected a matrix or a stack of matrices, got shape {given.shape}; try noise.reshape(len(noise), -1)"
        )
    sample = matrix_sample(_unit_scale(given[None] if given.ndim == 2 else given), np.random.default_rng(seed))
    found = estimate_localization(Subject(layer=None, row_labels=row_labels), sample)
    verdict = next(each for each in found if isinstance(each, Verdict))
    return Localization(
        verdict=verdict,
        typical=None if verdict.answer is None else typical_pair(loud_pairs(sample)[0]),
        estimates=tuple(each for each in found if isinstance(each, Estimate)),
    )


def _unit_scale(stack: Float[np.ndarray, "pairs rows columns"]) -> Float[np.ndarray, "pairs rows columns"]:
    """Divide each matrix by its largest entry: no answer depends on the scale, but fourth powers leave float64."""
    largest = np.abs(stack).max(axis=(1, 2), keepdims=True)
    return np.divide(stack, largest, out=stack.copy(), where=np.isfinite(largest) & (largest > 0.0))
