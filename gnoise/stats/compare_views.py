"""Tails of plain draws in two views, across entries and across draws, without a model, a run or torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gnoise.records import Estimate, SketchSample, Verdict
from gnoise.stats.averaging import BLOCKS, pair_noise
from gnoise.stats.plain import plain_draws
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.statistic import Subject
from gnoise.stats.tail_laws import judge_tails
from gnoise.stats.tails import estimate_tails


@dataclass(frozen=True)
class Views:
    """How heavy noise looks with its entries pooled, and with each entry's own scale taken out.

    Attributes:
        alpha_entries: tail index of all entries pooled.
        alpha_draws: tail index with each entry divided by its own scale: that of the noise itself.
        heterogeneity: share of 2 − ``alpha_entries`` that the division removes.
        law_entries: which law describes pooled entries best.
        law_draws: which law describes the noise itself best.
    """

    alpha_entries: Estimate
    alpha_draws: Estimate
    heterogeneity: Estimate
    law_entries: Verdict
    law_draws: Verdict


def compare_views(draws: ArrayLike) -> Views:
    """Compare tails across entries with tails across draws: see :mod:`gnoise.stats.tails`.

    Scales are the geometric mean of each entry's |noise| in the first half of the draws; what is divided by them is
    the noise of the second half.

    Args:
        draws: one draw a row, 16 or more of them; what varies along a row, of any shape, are its entries, 500 or
            more over all pairs of draws. Means need not be taken off.

    Raises:
        UserError: these are not real numbers, or not one row a draw.
    """
    sample = _sample(plain_draws(draws))
    subject = Subject(layer=None)
    found = [*estimate_tails(subject, sample), *judge_tails(subject, sample)]
    estimates = {each.quantity: each for each in found if isinstance(each, Estimate)}
    verdicts = {each.question: each for each in found if isinstance(each, Verdict)}
    return Views(
        alpha_entries=estimates["alpha_entries"],
        alpha_draws=estimates["alpha_draws"],
        heterogeneity=estimates["heterogeneity"],
        law_entries=verdicts["tails_entries"],
        law_draws=verdicts["tails_draws"],
    )


def _sample(draws: Float[np.ndarray, "draws coords"]) -> SketchSample:
    """Sketch pair noise in eight blocks as a run does; all of it in units that float32 can hold."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinite draws make infinite noise, which is counted
        noise = pair_noise(draws)
        pairs = noise.shape[1]
        if pairs == 0:
            return SketchSample(entries=(), draws=(), scale_pairs=0)
        moving = np.abs(noise[noise != 0.0])
        unit = float(np.median(moving)) if moving.size else 1.0
        noise = noise / unit
        learnt = np.abs(np.concatenate(noise[: BLOCKS // 2]))
        seen = np.count_nonzero(learnt, axis=0)
        kept = 2 * seen > learnt.shape[0]
        logs = np.log(learnt, where=learnt > 0.0, out=np.zeros_like(learnt))
        scales = np.exp(logs.sum(axis=0)[kept] / seen[kept])
        standardised = noise[BLOCKS // 2 :, :, kept] / scales
    return SketchSample(
        entries=tuple(sketch_from_values(block) for block in noise),
        draws=tuple(sketch_from_values(block) for block in standardised),
        scale_pairs=learnt.shape[0],
    )
