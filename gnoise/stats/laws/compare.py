r"""Compare laws by what they say about draws they have not seen.

Entries of one draw depend on each other, so a log likelihood of a million entries is not worth a million
independent values, and Akaike's correction of one unit a parameter is far too small. Here each block of draws
is scored under parameters from the other blocks. The sum over blocks is Akaike's criterion with the effective
sample size already in it: what a parameter costs is measured, not assumed. The differences between two
laws, one a block, give Vuong's statistic with its scatter taken from draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtr

from gnoise.records import Status
from gnoise.stats.laws.bins import FoldedBins
from gnoise.stats.laws.fit import LawFit, Peak, climb, clipped, report, scoring_steps
from gnoise.stats.laws.law import Law
from gnoise.stats.laws.likelihood import held_out
from gnoise.stats.laws.table import tabulate

SIGNIFICANCE = 0.05
"""A law is told apart from a special case of it below this p-value."""

MATERIAL = 1e-3
"""Nats a value by which it must be better: what Student's t with 30 degrees of freedom gains on a Gaussian."""

_CALM = "gaussian"
_FEWEST_BLOCKS = 3
_LARGEST = 1e3


@dataclass(frozen=True)
class Candidate:
    """One law's fit, and how it does block by block.

    Attributes:
        law: that was fitted.
        fit: to all blocks.
        left_out: log scale and shapes' coordinates from all blocks but one.
        log_p: of each bin at the fit to all blocks, no lower than the floor.
        held_out: bounded log likelihood of that one.
    """

    law: Law
    fit: LawFit
    left_out: Float[np.ndarray, "blocks params"]
    log_p: Float[np.ndarray, " bins"]
    held_out: Float[np.ndarray, " blocks"]


@dataclass(frozen=True)
class Comparison:
    """Which law describes some blocks of draws best, or why there is no answer.

    Attributes:
        candidates: by name of the law; empty without an answer.
        answer: the law with the largest held-out likelihood; or a special case of it, the Gaussian first,
            from which it cannot be told apart (:func:`p_value`).
        runner_up: the next largest; the law itself where a special case answers for it.
        margin: Vuong's statistic of ``answer`` over ``runner_up``: held-out difference in standard errors from
            blocks. Below 2 the two are hard to tell apart; it is negative where the special case answers.
        p_value: that the best law (or the best other) is no more than a thousandth nat a value better than the
            Gaussian, one-sided, Student-t over blocks.
        gain: what the best law gains on the Gaussian, nats a value.
        n: values.
        n_effective: independent values that would scatter as these blocks do, in the log likelihood ratio of
            the best law to the Gaussian; known to about half of itself from eight blocks.
        status: ``OK``, or why there is no answer.
    """

    candidates: Mapping[str, Candidate]
    answer: str
    runner_up: str
    margin: float
    p_value: float
    gain: float
    n: int
    n_effective: float
    status: Status


def compare(laws: tuple[Law, ...], bins: FoldedBins, scale_values: int | None) -> Comparison:
    """Fit every law to all blocks, score each block under the others' parameters, and choose.

    Args:
        laws: rivals, the Gaussian among them.
        bins: with one row of counts a block of draws.
        scale_values: values behind each scale that entries were divided by; ``None`` where they were not.
    """
    status = bins.status
    filled = int(bins.counts.any(axis=1).sum()) if status is Status.OK else bins.counts.shape[0]
    if status in (Status.OK, Status.TOO_FEW_VALUES) and filled < _FEWEST_BLOCKS:
        status = Status.TOO_FEW_DRAWS
    if status is not Status.OK:
        return Comparison({}, "", "", 0.0, 1.0, 0.0, bins.n, 0.0, status)
    candidates = {candidate.law.name: candidate for candidate in _candidates(laws, bins, scale_values)}
    order = sorted(candidates.values(), key=lambda candidate: -float(candidate.held_out.sum()))
    best, calm = order[0], candidates[_CALM]
    rival = order[1] if best is calm else best
    simpler = [candidates[name] for name in dict.fromkeys((_CALM, *best.law.special_cases)) if name != best.law.name]
    answer = next((case for case in simpler if p_value(best, case, bins.counts) >= SIGNIFICANCE), best)
    runner_up = order[1] if answer is best else best
    return Comparison(
        candidates=candidates,
        answer=answer.law.name,
        runner_up=runner_up.law.name,
        margin=vuong(answer, runner_up),
        p_value=p_value(rival, calm, bins.counts),
        gain=_gain(rival, calm, bins.n),
        n=bins.n,
        n_effective=effective_size(rival.log_p - calm.log_p, bins.counts),
        status=Status.OK,
    )


def effective_size(log_ratio: Float[np.ndarray, " bins"], counts: Int[np.ndarray, "blocks bins"]) -> float:
    r"""Compute $n\, s^2 / (m\, s_B^2)$ from the variance of values and that of means of blocks of $m$, at most $n$.

    Args:
        log_ratio: of a value in each bin.
        counts: values in each bin, one row a block.
    """
    sizes, total = counts.sum(axis=1), counts.sum(axis=0)
    n = float(total.sum())
    mean = float(total @ log_ratio) / n
    variance = float(total @ np.square(log_ratio - mean)) / n
    of_blocks = float(np.square(counts @ log_ratio - sizes * mean).sum()) / (sizes.size - 1)
    independent = variance * n / sizes.size
    return n * min(1.0, independent / of_blocks) if of_blocks > 0.0 else n


def vuong(one: Candidate, other: Candidate) -> float:
    r"""Compute $\bar D / (s_D / \sqrt B)$ of the held-out differences $D_b$, within ±1,000.

    Differs from the paper in taking blocks of dependent values for its independent ones, and held-out likelihoods for
    its penalty.

    Args:
        one: positive where it is better.
        other: the law compared with.

    References:
        Vuong 1989, *Likelihood ratio tests for model selection and non-nested hypotheses*, Econometrica 57(2).
        Stone 1977, *An asymptotic equivalence of choice of model by cross-validation and Akaike's criterion*.
    """
    return _t(one.held_out - other.held_out)


def p_value(better: Candidate, calm: Candidate, counts: Int[np.ndarray, "blocks bins"]) -> float:
    """Test whether one law is better than another by more than :data:`MATERIAL`, one-sided, with Student's t.

    Exactly Gaussian noise does not exist, and a million values would refute it every time; what is tested
    is whether the difference matters.

    Args:
        better: of the alternative.
        calm: of the null hypothesis.
        counts: that both were fitted to, for the number of values a block.
    """
    excess = better.held_out - calm.held_out - MATERIAL * counts.sum(axis=1)
    return float(stdtr(excess.size - 1, -_t(excess)))


def _t(difference: Float[np.ndarray, " blocks"]) -> float:
    mean = float(difference.mean())
    stderr = float(difference.std(ddof=1)) / np.sqrt(difference.size)
    return mean / stderr if abs(mean) < _LARGEST * stderr else float(_LARGEST * np.sign(mean))


def _gain(one: Candidate, other: Candidate, n: int) -> float:
    return float((one.held_out - other.held_out).sum()) / n


def _candidates(laws: tuple[Law, ...], bins: FoldedBins, scale_values: int | None) -> list[Candidate]:
    """Fit all, then score every block under what the others say."""
    counts = bins.counts.astype(np.float64)
    candidates: list[Candidate] = []
    for law in laws:
        peak = climb(law, bins, scale_values)
        left_out = _left_out(law, peak, bins, counts)
        scores = held_out(tabulate(law, scale_values), bins, left_out, counts)
        log_p = np.maximum(peak.likelihood.log_p, bins.floor)
        candidates.append(Candidate(law, report(law, peak, bins), left_out, log_p, scores))
    return candidates


def _left_out(
    law: Law, peak: Peak, bins: FoldedBins, counts: Float[np.ndarray, "blocks bins"]
) -> Float[np.ndarray, "blocks params"]:
    """Take one scoring step from the peak of all blocks to that of all but each."""
    scores = -peak.likelihood.score(bins, counts)
    rest = bins.n - counts.sum(axis=1)
    return clipped(law, peak.theta + scoring_steps(law, peak.theta, peak.likelihood, scores, rest))
