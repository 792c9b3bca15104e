"""One documented sample in, estimates out. The table of contents."""

from gnoise.stats import (
    averaging,
    draw_norm,
    extremes,
    localization,
    matched_noise_scale,
    muon_noise_scale,
    noise_scale,
    outliers,
    spikes,
    tail_laws,
    tails,
)
from gnoise.stats.compare_views import Views, compare_views
from gnoise.stats.extremes import ExtremesFit, fit_extremes
from gnoise.stats.judge_averaging import Averaging, judge_averaging
from gnoise.stats.laws import LAWS, Comparison, Law, LawFit, compare_laws, fit_law, law_survival
from gnoise.stats.localize import Localization, localize
from gnoise.stats.log_moment import LogMomentFit, fit_log_moment
from gnoise.stats.sketch import Bins, abs_quantiles, coarse_bins, merge, quantiles, sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import StableFit, fit_stable
from gnoise.stats.stable_law import stable_cdf, stable_pdf, stable_quantile, stable_sf
from gnoise.stats.statistic import AnyStatistic, Statistic, Subject
from gnoise.stats.totals import NormSums, Summands, summands

STATISTICS: tuple[AnyStatistic, ...] = (
    noise_scale.STATISTIC,
    matched_noise_scale.STATISTIC,
    muon_noise_scale.STATISTIC,
    draw_norm.STATISTIC,
    spikes.STATISTIC,
    spikes.CLIP_RATE,
    outliers.STATISTIC,
    tails.STATISTIC,
    extremes.STATISTIC,
    tail_laws.STATISTIC,
    averaging.STATISTIC,
    localization.STATISTIC,
)
"""Every statistic ``gnoise analyze`` fits, in the order it reports them."""

__all__ = [
    "LAWS",
    "STATISTICS",
    "AnyStatistic",
    "Averaging",
    "Bins",
    "Comparison",
    "ExtremesFit",
    "Law",
    "LawFit",
    "Localization",
    "LogMomentFit",
    "NormSums",
    "StableFit",
    "Statistic",
    "Subject",
    "Summands",
    "Views",
    "abs_quantiles",
    "coarse_bins",
    "compare_laws",
    "compare_views",
    "fit_extremes",
    "fit_law",
    "fit_log_moment",
    "fit_stable",
    "judge_averaging",
    "law_survival",
    "localize",
    "merge",
    "quantiles",
    "sketch_from_values",
    "stable_cdf",
    "stable_pdf",
    "stable_quantile",
    "stable_rvs",
    "stable_sf",
    "summands",
]
