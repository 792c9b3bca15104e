"""What averaging does to plain draws, without a model, a run or torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gnoise.records import CoordinateSample, Estimate, Verdict
from gnoise.stats.averaging import estimate_averaging
from gnoise.stats.plain import plain_draws
from gnoise.stats.statistic import Subject


@dataclass(frozen=True)
class Averaging:
    """What the mean of more draws does to noise.

    Attributes:
        verdict: ``gaussian``, ``thinning``, ``stable`` or ``rare_values``, or why there is no answer.
        slope: of log₂ spread in log₂ of the number averaged: −½ for noise with a variance.
        alpha: the tail index a constant slope implies; no number where it is not constant.
    """

    verdict: Verdict
    slope: Estimate
    alpha: Estimate


def judge_averaging(draws: ArrayLike) -> Averaging:
    """Say whether a heavy tail survives averaging: see :mod:`gnoise.stats.averaging`.

    Args:
        draws: one draw a row, 16 or more of them and 128 for an answer in most cases; what varies along a row, of
            any shape, are its entries. Means need not be taken off: noise is the difference of neighbouring draws.

    Raises:
        UserError: these are not real numbers, or not one row a draw.
    """
    values = plain_draws(draws)
    largest = float(np.abs(values).max(initial=0.0))
    if 0.0 < largest < np.inf:
        values = values / largest
    unused = np.zeros(values.shape[0])
    sample = CoordinateSample(np.arange(values.shape[1]), values, draw_sq_norms=unused, model_sq_norms=unused)
    found = estimate_averaging(Subject(layer=None), sample)
    slope, alpha = (each for each in found if isinstance(each, Estimate))
    verdict = next(each for each in found if isinstance(each, Verdict))
    return Averaging(verdict=verdict, slope=slope, alpha=alpha)
