"""One documented sample in, estimates out. The table of contents."""

from gnoise.stats import averaging, tails
from gnoise.stats.statistic import Statistic, Subject

STATISTICS = (
    tails.STATISTIC,
    averaging.STATISTIC,
)
"""Every statistic ``gnoise analyze`` fits, in the order it reports them."""

__all__ = ["STATISTICS", "Statistic", "Subject"]
