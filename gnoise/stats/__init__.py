"""One documented sample in, estimates out. The table of contents."""

from gnoise.stats import averaging, localization, noise_scale, spikes, tails
from gnoise.stats.statistic import Statistic, Subject

STATISTICS = (
    noise_scale.STATISTIC,
    spikes.STATISTIC,
    spikes.CLIP_RATE,
    tails.STATISTIC,
    averaging.STATISTIC,
    localization.STATISTIC,
)
"""Every statistic ``gnoise analyze`` fits, in the order it reports them."""

__all__ = ["STATISTICS", "Statistic", "Subject"]
