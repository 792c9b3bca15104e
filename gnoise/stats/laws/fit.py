"""Fit one law to binned magnitudes by maximum likelihood, and say how far from the data it stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gnoise.records import Status
from gnoise.stats.laws.bins import FoldedBins
from gnoise.stats.laws.law import Law
from gnoise.stats.laws.likelihood import Likelihood, likelihood, masses
from gnoise.stats.laws.table import GRID, evaluate, tabulate

_STEPS = 40
_LONGEST = 1.0
_STRETCHED = 4.0
_SHORTEST = 0.25
_SETTLED = 1e-3
_ACCEPTED = 0.05
_RIDGE = 1e-9
_STARTS = 6
_HALVINGS = 12


@dataclass(frozen=True)
class LawFit:
    """A law fitted by maximum likelihood, or why there is none.

    Attributes:
        law: its name.
        params: ``scale`` and the law's shapes by name; empty without a fit.
        loglik: log likelihood of the counts, no value below :attr:`FoldedBins.floor`; only differences between laws
            on the same bins mean anything.
        n_params: parameters that were free.
        n: values that took part.
        ks: Kolmogorov–Smirnov distance of |x|: the largest gap between the two distribution functions.
        ad: Anderson–Darling distance of |x|: ∫(F̂ − F)²/(F(1 − F)) dF, the statistic A² over n.
        status: ``OK``, or why there is no fit; ``NOT_CONVERGED`` comes with the best that was found.
    """

    law: str
    params: Mapping[str, float]
    loglik: float
    n_params: int
    n: int
    ks: float
    ad: float
    status: Status


@dataclass(frozen=True)
class Peak:
    """Where a law's likelihood is largest.

    Attributes:
        theta: log scale and shapes' coordinates.
        likelihood: there.
        settled: whether nothing is left to gain.
    """

    theta: Float[np.ndarray, " params"]
    likelihood: Likelihood
    settled: bool


class _Start(NamedTuple):
    """A shape to start from, the log of its median and its T on the grid."""

    shapes: Float[np.ndarray, " shapes"]
    log_median: float
    complement: Float[np.ndarray, " grid"]


@cache
def _bounds(law: Law) -> tuple[Float[np.ndarray, " params"], Float[np.ndarray, " params"]]:
    """List the lowest and the highest value of each parameter; the scale has none."""
    ends = np.array([[shape.grid[0], shape.grid[-1]] for shape in law.shapes]).reshape(-1, 2)
    return np.append(-np.inf, ends[:, 0]), np.append(np.inf, ends[:, 1])


def climb(law: Law, bins: FoldedBins, scale_values: int | None) -> Peak:
    r"""Find the peak of the bounded likelihood by Fisher scoring with step halving, from the best of a few starts.

    Starts put the law's median on the data's. Where a law does not hold, information that is expected of it is not the
    curvature that is there; so a step is stretched by what the slope along the last step was found to have left. The
    climb ends when a step promises or brings less than a thousandth nat: a twentieth of a standard error.

    Args:
        law: to fit.
        bins: with at least one value.
        scale_values: values behind each scale that entries were divided by; ``None`` where they were not.
    """
    table, total = tabulate(law, scale_values), bins.total
    theta = _start(law, bins, scale_values)
    here = likelihood(table, bins.log_edges, theta)
    best, left = here.bounded(bins, total), np.inf
    stretch, moved, pulled = 1.0, np.zeros(theta.size), 0.0
    for _ in range(_STEPS):
        score = here.score(bins, total)
        step = scoring_step(law, theta, here, score, bins.n)
        left = 0.5 * float(score @ step)
        if left < _SETTLED:
            break
        if pulled > 0.0:
            stretch *= 1.0 / max(1.0 - float(score @ moved) / pulled, 1.0 / _STRETCHED)
        stretch = min(max(stretch, _SHORTEST), _STRETCHED)
        for _ in range(_HALVINGS):
            trial = clipped(law, theta + stretch * step)
            there = likelihood(table, bins.log_edges, trial)
            reached = there.bounded(bins, total)
            if reached > best:
                break
            stretch *= 0.5
        else:
            break
        moved, gained = trial - theta, reached - best
        pulled = float(score @ moved)
        theta, here, best = trial, there, reached
        if gained < _SETTLED:
            break
    return Peak(theta, here, left < _ACCEPTED)


def clipped(law: Law, theta: Float[np.ndarray, "*blocks params"]) -> Float[np.ndarray, "*blocks params"]:
    """Move shapes into their range.

    Args:
        law: whose they are.
        theta: log scale and shapes' coordinates.
    """
    return np.clip(theta, *_bounds(law))


def scoring_step(
    law: Law, theta: Float[np.ndarray, " params"], here: Likelihood, score: Float[np.ndarray, " params"], n: float
) -> Float[np.ndarray, " params"]:
    r"""Solve $n I \delta = $ score for the parameters that are not pushed against an end of their range.

    Args:
        law: whose ranges count.
        theta: where.
        here: likelihood there.
        score: of the values that count.
        n: how many they are.

    Returns:
        The step, no coordinate of it longer than 1.
    """
    low, high = _bounds(law)
    information = n * (here.information + _RIDGE * np.eye(theta.size))
    if not ((theta <= low) | (theta >= high)).any():
        return np.clip(np.linalg.solve(information, score), -_LONGEST, _LONGEST)
    free = np.ones(theta.size, dtype=bool)
    step = np.zeros(theta.size)
    for _ in range(theta.size):
        block = information[np.ix_(free, free)]
        step[:] = 0.0
        step[free] = np.linalg.solve(block, score[free])
        pushed = free & (((theta <= low) & (step < 0.0)) | ((theta >= high) & (step > 0.0)))
        if not pushed.any():
            break
        free &= ~pushed
    return np.clip(step, -_LONGEST, _LONGEST)


def scoring_steps(
    law: Law,
    theta: Float[np.ndarray, " params"],
    here: Likelihood,
    scores: Float[np.ndarray, "blocks params"],
    n: Float[np.ndarray, " blocks"],
) -> Float[np.ndarray, "blocks params"]:
    """Take :func:`scoring_step` for several scores at one place.

    Args:
        law: whose ranges count.
        theta: where.
        here: likelihood there.
        scores: one row for each set of values.
        n: how many values each has.
    """
    low, high = _bounds(law)
    if ((theta <= low) | (theta >= high)).any():
        return np.stack([scoring_step(law, theta, here, *one) for one in zip(scores, n, strict=True)])
    information = here.information + _RIDGE * np.eye(theta.size)
    return np.clip(np.linalg.solve(information, scores.T).T / n[:, None], -_LONGEST, _LONGEST)


def _start(law: Law, bins: FoldedBins, scale_values: int | None) -> Float[np.ndarray, " params"]:
    """Try a few shapes, each with its median on the data's; take the likeliest."""
    at = int(np.searchsorted(np.cumsum(bins.total), 0.5 * bins.n))
    median = bins.log_edges[min(at, bins.log_edges.size - 1)]
    starts = _starts(law, scale_values)
    y = bins.log_edges - median
    logliks = [
        bins.total @ np.maximum(masses(-np.exp(np.interp(y + start.log_median, GRID, start.complement)))[0], bins.floor)
        for start in starts
    ]
    best = starts[int(np.argmax(logliks))]
    return np.append(median - best.log_median, best.shapes)


@cache
def _starts(law: Law, scale_values: int | None) -> list[_Start]:
    axes = [np.linspace(shape.grid[0], shape.grid[-1], _STARTS + 2)[1:-1] for shape in law.shapes]
    starts: list[_Start] = []
    for shapes in product(*axes):
        minus_log = -evaluate(tabulate(law, scale_values), GRID, np.array(shapes)).log
        starts.append(_Start(np.array(shapes), float(np.interp(np.log(2.0), minus_log, GRID)), np.log(minus_log)))
    return starts


def report(law: Law, peak: Peak, bins: FoldedBins) -> LawFit:
    """Name the parameters and measure the distances.

    Args:
        law: that was fitted.
        peak: where.
        bins: to what.
    """
    shapes = {s.name: s.backward(float(at)) for s, at in zip(law.shapes, peak.theta[1:], strict=True)}
    p = np.exp(peak.likelihood.log_p)
    empirical, law_below = np.cumsum(bins.total)[:-1] / bins.n, np.cumsum(p)[:-1]
    above = np.cumsum(p[::-1])[::-1][1:]
    gap = empirical - law_below
    density = np.square(gap) / np.maximum(law_below * above, 1e-300)
    weight = 0.5 * (p[:-1] + p[1:])
    return LawFit(
        law=law.name,
        params={"scale": float(np.exp(peak.theta[0])), **shapes},
        loglik=peak.likelihood.bounded(bins, bins.total),
        n_params=law.n_params,
        n=bins.n,
        ks=float(np.abs(gap).max()),
        ad=float(density @ weight),
        status=Status.OK if peak.settled else Status.NOT_CONVERGED,
    )


def no_fit(law: Law, bins: FoldedBins) -> LawFit:
    """Say why there is nothing to fit.

    Args:
        law: that was asked for.
        bins: with a status that is not ``OK``.
    """
    return LawFit(law.name, {}, 0.0, 0, bins.n, 0.0, 0.0, bins.status)


def fit_bins(law: Law, bins: FoldedBins, scale_values: int | None) -> LawFit:
    """Fit a law to folded bins.

    Args:
        law: to fit.
        bins: of all blocks.
        scale_values: values behind each scale that entries were divided by; ``None`` where they were not.
    """
    if bins.status is not Status.OK:
        return no_fit(law, bins)
    return report(law, climb(law, bins, scale_values), bins)
