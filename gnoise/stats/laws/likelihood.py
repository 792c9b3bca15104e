"""The likelihood of binned magnitudes under a tabulated law, with its scores."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from gnoise.stats.laws.bins import FoldedBins
from gnoise.stats.laws.table import Table, evaluate, evaluate_blocks

_SMALLEST = 1e-100


@dataclass(frozen=True)
class Likelihood:
    """A law's bin probabilities at one place, and how they move.

    Attributes:
        log_p: of each bin.
        scores: derivatives of ``log_p`` by log scale and the shapes' coordinates.
    """

    log_p: Float[np.ndarray, " bins"]
    scores: Float[np.ndarray, "params bins"]

    def bounded(self, bins: FoldedBins, counts: Float[np.ndarray, " bins"]) -> float:
        """Add up the log likelihood of counts, no value below the bins' floor."""
        return float(counts @ np.maximum(self.log_p, bins.floor))

    def score(self, bins: FoldedBins, counts: Float[np.ndarray, "*blocks bins"]) -> Float[np.ndarray, "*blocks params"]:
        """Differentiate :meth:`bounded`."""
        return np.where(self.log_p > bins.floor, counts, 0.0) @ self.scores.T

    @cached_property
    def information(self) -> Float[np.ndarray, "params params"]:
        """Fisher's expected information in one value."""
        return (self.scores * np.exp(self.log_p)) @ self.scores.T


def likelihood(table: Table, log_edges: Float[np.ndarray, " edges"], theta: Float[np.ndarray, " params"]) -> Likelihood:
    r"""Compute bin probabilities $p_k = S_k - S_{k+1}$ as $\log S_k + \log(1 - S_{k+1}/S_k)$, which never underflows.

    Args:
        table: of the law.
        log_edges: of the bins, the first of which begins at 0 and the last of which never ends.
        theta: log scale and shapes' coordinates.
    """
    at = evaluate(table, log_edges - theta[0], theta[1:])
    at.gradient[0] *= -1.0
    log_p, kept = masses(at.log)
    scores = np.zeros((theta.size, log_p.size))
    scores[:, 1:] = at.gradient
    scores[:, :-1] -= (1.0 - kept) * at.gradient
    scores[:, :-1] /= kept
    return Likelihood(log_p, scores)


def held_out(
    table: Table,
    bins: FoldedBins,
    thetas: Float[np.ndarray, "blocks params"],
    counts: Float[np.ndarray, "blocks bins"],
) -> Float[np.ndarray, " blocks"]:
    """Score each block under parameters of its own: :meth:`Likelihood.bounded`, many at once.

    Args:
        table: of the law.
        bins: that the counts are of.
        thetas: log scale and shapes' coordinates, one row a block.
        counts: values in each bin, one row a block.
    """
    log_p, _ = masses(evaluate_blocks(table, bins.log_edges - thetas[:, :1], thetas[:, 1:]))
    return (counts * np.maximum(log_p, bins.floor)).sum(axis=1)


def masses(
    log_survival: Float[np.ndarray, "*blocks edges"],
) -> tuple[Float[np.ndarray, "*blocks edges+1"], Float[np.ndarray, "*blocks edges"]]:
    """Return the log of each bin's mass, and what share of all beyond its start each bin but the last keeps.

    Args:
        log_survival: at the edges, not ascending.
    """
    log_p = np.zeros((*log_survival.shape[:-1], log_survival.shape[-1] + 1))
    log_p[..., 1:] = log_survival
    kept = np.maximum(-np.expm1(log_survival - log_p[..., :-1]), _SMALLEST)
    log_p[..., :-1] += np.log(kept)
    return log_p, kept
