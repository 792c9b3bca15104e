"""How large a draw's gradient is, before any clipping: what a clip threshold is to be held against."""

import numpy as np
from scipy.stats import binom

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
    below = int(binom.ppf((1.0 - CONFIDENCE) / 2.0, n, 0.5))
    low, high = float(norms[max(below - 1, 0)]), float(norms[min(n - below, n - 1)])
    note = f"95% of draws are below {np.quantile(norms, _HIGH_QUANTILE):.3g}"
    value = float(np.median(norms))
    return [Estimate(subject.name, "draw_norm", value, low, high, None, n, Status.OK, note)]


STATISTIC = Statistic(
    name="draw norm",
    needs=NormSample,
    quantities=("draw_norm",),
    estimate=estimate_draw_norm,
    whole_model=True,
)
