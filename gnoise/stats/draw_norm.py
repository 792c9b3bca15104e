"""How large a draw's gradient is, before any clipping: what a clip threshold is to be held against."""

import numpy as np
from scipy.special import bdtr, bdtrik

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.intervals import CONFIDENCE, no_estimate
from gnoise.stats.statistic import Statistic, Subject

FEWEST_DRAWS = 6
"""Fewer draws have no two order statistics that hold the median with 95%."""
_HIGH_QUANTILE = 0.95


def estimate_draw_norm(subject: Subject, sample: NormSample) -> list[Estimate]:
    """Estimate the median norm of a draw; the note gives the 95th percentile.

    The interval lies between two order statistics, chosen by the binomial law: it holds the median
    with at least 95% whatever the distribution. Norms are before clipping, for draws of this run's size.

    Args:
        subject: the layer or the model.
        sample: its norms.
    """
    norms = np.sort(np.sqrt(sample.draw_sq_norms))
    n = norms.size
    if n < FEWEST_DRAWS:
        return [no_estimate(subject.name, "draw_norm", Status.TOO_FEW_DRAWS, n)]
    if not np.isfinite(norms).all():
        return [no_estimate(subject.name, "draw_norm", Status.NON_FINITE, n)]
    if not norms.any():
        return [no_estimate(subject.name, "draw_norm", Status.ALL_ZERO, n)]
    below = _median_rank((1.0 - CONFIDENCE) / 2.0, n)
    low, high = float(norms[max(below - 1, 0)]), float(norms[min(n - below, n - 1)])
    note = f"95% of draws are below {np.quantile(norms, _HIGH_QUANTILE):.3g}"
    value = float(np.median(norms))
    return [Estimate(subject.name, "draw_norm", value, low, high, None, n, Status.OK, note)]


def _median_rank(probability: float, n: int) -> int:
    """Find the smallest k with P(Binomial(n, 1/2) <= k) at least ``probability``.

    ``scipy.stats.binom.ppf`` does the same, and takes half a second to import.
    """
    rank = int(np.ceil(bdtrik(probability, n, 0.5)))
    return rank - 1 if rank > 0 and bdtr(rank - 1, n, 0.5) >= probability else rank


STATISTIC = Statistic(
    name="draw norm",
    needs=NormSample,
    quantities=("draw_norm",),
    estimate=estimate_draw_norm,
    whole_model=True,
)
