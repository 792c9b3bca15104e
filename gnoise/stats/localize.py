"""Localization of plain arrays, without a model, a run or torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.errors import UserError
from gnoise.records import Estimate, Verdict
from gnoise.stats.localization import estimate_localization, loud_pairs
from gnoise.stats.localization_verdict import TypicalPair, typical_pair
from gnoise.stats.noise_matrix import matrix_sample
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


def localize(noise: Float[np.ndarray, "..."], *, row_labels: tuple[str, ...] = (), seed: int = 0) -> Localization:
    """Say whether noise sits in rows, columns, few directions, single entries, or everywhere.

    Args:
        noise: one noise matrix, or several independent ones of the same layer; without a mean, such as half the
            difference of two draws times √2.
        row_labels: a name for each row.
        seed: of the permutations, and of the block a large matrix's bulk is read from.

    Raises:
        UserError: the array is not a matrix or a stack of them.
    """
    if noise.ndim not in (2, 3) or 0 in noise.shape:
        raise UserError(
            f"expected a matrix or a stack of matrices, got shape {noise.shape}; try noise.reshape(len(noise), -1)"
        )
    stack = noise[None] if noise.ndim == 2 else noise
    sample = matrix_sample(stack, np.random.default_rng(seed))
    found = estimate_localization(Subject(layer=None, row_labels=row_labels), sample)
    verdict = next(each for each in found if isinstance(each, Verdict))
    return Localization(
        verdict=verdict,
        typical=None if verdict.answer is None else typical_pair(loud_pairs(sample)[0]),
        estimates=tuple(each for each in found if isinstance(each, Estimate)),
    )
