"""One documented sample in, estimates out. The table of contents."""

from gnoise.stats import averaging, draw_norm, localization, noise_scale, outliers, spikes, tails
from gnoise.stats.statistic import AnyStatistic, Statistic, Subject

STATISTICS: tuple[AnyStatistic, ...] = (
    noise_scale.STATISTIC,
    draw_norm.STATISTIC,
    spikes.STATISTIC,
    spikes.CLIP_RATE,
    outliers.STATISTIC,
    tails.STATISTIC,
    averaging.STATISTIC,
    localization.STATISTIC,
)
"""Every statistic ``gnoise analyze`` fits, in the order it reports them."""

__all__ = ["STATISTICS", "AnyStatistic", "Statistic", "Subject"]
