"""Tails in two views side by side: across entries, and across draws.

Pooled entries of unequal scales look heavy-tailed when nothing is: Gaussian entries whose standard
deviations are lognormal with log-sd 1 read α = 1.18. So the same fit is made twice, of all noise entries
pooled and of each entry divided by its own scale, and what the division removes is reported as the share of
heaviness that unequal scales explain. Neither view says that tails survive averaging: that is what
:mod:`gnoise.stats.averaging` tests.

Noise of pairs, (g − g')/√2, has the covariance of one draw. Where draws are stable with index α it has
2^(1/α − 1/2) times their scale, so scales are multiplied by 2^(1/2 − 1/α) on the way out. The index is the
one *across draws*, since subtracting mixes draws and not entries: Gaussian entries of unequal scales need no
factor, however heavy they look when pooled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.records import Estimate, Sketch, SketchSample, Status
from gnoise.stats.intervals import (
    Interval,
    clip_interval,
    estimate_of,
    jackknife_deviations,
    jackknife_stderr,
    no_estimate,
    t_interval,
)
from gnoise.stats.sketch import leave_one_out, merge
from gnoise.stats.stable import GAUSSIAN, StableCf, fit_stable_cf, fit_stable_cf_standardised
from gnoise.stats.statistic import Statistic, Subject

_FEWEST_VALUES = 500
_FEWEST_BLOCKS = 3
_NOT_HEAVY_FROM = 1.95


@dataclass(frozen=True)
class View:
    """One view of the noise: the fit of all blocks and standard errors from leaving each out.

    Attributes:
        fit: of all blocks merged; all zeros where ``status`` is not ``OK``.
        alpha_deviations: of the exponent as each block is left out, from their mean, scaled so that their squares
            add up to its jackknife variance.
        log_gamma_stderr: standard error of the natural log of γ.
        log_cauchy_stderr: likewise of half the inter-quartile range.
        blocks: blocks compared.
        status: ``OK``, or why there is no number.
    """

    fit: StableCf
    alpha_deviations: Float[np.ndarray, " blocks"]
    log_gamma_stderr: float
    log_cauchy_stderr: float
    blocks: int
    status: Status

    @property
    def alpha_stderr(self) -> float:
        """Standard error of the exponent."""
        return float(np.sqrt(np.square(self.alpha_deviations).sum()))


def estimate_tails(subject: Subject, sample: SketchSample) -> list[Estimate]:
    """Estimate tail index and scales across entries, tail index across draws, and the share between.

    Every interval compares blocks of draws (delete-one-block jackknife, Student-t); ``n`` is the number of
    blocks. A view with fewer than 500 non-zero values has no fit.

    Args:
        subject: the layer.
        sample: its sketches, one a block.
    """
    entries = fit_view(sample.entries, fit_stable_cf)
    draws = fit_view(sample.draws, lambda sketch: fit_stable_cf_standardised(sketch, sample.scale_pairs))
    name = subject.name
    return [
        _index(name, "alpha_entries", entries),
        _scale(name, "gamma_entries", entries, draws),
        _scale(name, "cauchy_scale_entries", entries, draws),
        _index(name, "alpha_draws", draws),
        _heterogeneity(name, entries, draws),
    ]


def fit_view(sketches: tuple[Sketch, ...], fit: Callable[[Sketch], StableCf]) -> View:
    """Fit all blocks together, then all but each.

    Args:
        sketches: one a block of draws.
        fit: law to fit.
    """
    whole = fit(merge(sketches))
    status = whole.status
    if status is Status.OK and whole.n < _FEWEST_VALUES:
        status = Status.TOO_FEW_VALUES
    if status in (Status.OK, Status.TOO_FEW_VALUES) and len(sketches) < _FEWEST_BLOCKS:
        status = Status.TOO_FEW_DRAWS
    parts = [fit(part) for part in leave_one_out(sketches)] if status is Status.OK else []
    status = next((part.status for part in parts if part.status is not Status.OK), status)
    if status is not Status.OK:
        return View(whole, np.zeros(0), 0.0, 0.0, len(sketches), status)
    return View(
        fit=whole,
        alpha_deviations=jackknife_deviations(np.array([part.exponent for part in parts])),
        log_gamma_stderr=jackknife_stderr(np.log([part.gamma for part in parts])),
        log_cauchy_stderr=jackknife_stderr(np.log([part.cauchy_scale for part in parts])),
        blocks=len(sketches),
        status=Status.OK,
    )


def _index(name: str | None, quantity: str, view: View) -> Estimate:
    """Report an exponent as a tail index: interval first, clipped to (0, 2] after."""
    if view.status is not Status.OK:
        return no_estimate(name, quantity, view.status, view.blocks)
    interval = t_interval(view.fit.exponent, view.alpha_stderr, view.blocks - 1)
    return estimate_of(name, quantity, clip_interval(interval, 0.0, GAUSSIAN), view.blocks)


def _scale(name: str | None, quantity: str, entries: View, draws: View) -> Estimate:
    """Report a scale of one draw's noise, with an interval that is symmetric in its log."""
    if entries.status is not Status.OK:
        return no_estimate(name, quantity, entries.status, entries.blocks)
    cauchy = quantity == "cauchy_scale_entries"
    of_pairs = entries.fit.cauchy_scale if cauchy else entries.fit.gamma
    stderr = entries.log_cauchy_stderr if cauchy else entries.log_gamma_stderr
    factor, freedom, note = 1.0, entries.blocks - 1, "of pairs: no α (draws) to convert with"
    if draws.status is Status.OK:
        alpha = draws.fit.alpha
        factor, note = 2.0 ** (0.5 - 1.0 / alpha), ""
        if alpha < GAUSSIAN:
            stderr = float(np.hypot(stderr, np.log(2.0) * draws.alpha_stderr / alpha**2))
            freedom = min(freedom, draws.blocks - 1)
    value = of_pairs * factor
    log = t_interval(float(np.log(value)), stderr, freedom)
    interval = Interval(value, value * stderr, float(np.exp(log.low)), float(np.exp(log.high)))
    return estimate_of(name, quantity, interval, entries.blocks, note)


def _heterogeneity(name: str | None, entries: View, draws: View) -> Estimate:
    """Report the share of 2 − α (entries) that dividing by each entry's own scale removes.

    Without heaviness there is nothing to share out (``NOT_HEAVY``). Where heaviness is there but its interval
    reaches 2 the share may be anything (``TOO_FEW_DRAWS``). The views share the later blocks of draws: what one
    of those does to both indices mostly cancels in the share (delta method on the deviations of both jackknives).
    """
    quantity = "heterogeneity"
    for view in (entries, draws):
        if view.status is not Status.OK:
            return no_estimate(name, quantity, view.status, view.blocks)
    heavy = GAUSSIAN - entries.fit.exponent
    if entries.fit.exponent >= _NOT_HEAVY_FROM:
        return no_estimate(name, quantity, Status.NOT_HEAVY, draws.blocks)
    if t_interval(heavy, entries.alpha_stderr, entries.blocks - 1).low <= 0.0:
        return no_estimate(name, quantity, Status.TOO_FEW_DRAWS, draws.blocks)
    left = GAUSSIAN - draws.fit.exponent
    deviations = -left / heavy**2 * entries.alpha_deviations
    deviations[entries.blocks - draws.blocks :] += draws.alpha_deviations / heavy
    stderr = float(np.sqrt(np.square(deviations).sum()))
    interval = t_interval(1.0 - left / heavy, stderr, draws.blocks - 1)
    return estimate_of(name, quantity, clip_interval(interval, 0.0, 1.0), draws.blocks)


STATISTIC = Statistic(
    name="tails",
    needs=SketchSample,
    quantities=("alpha_entries", "gamma_entries", "cauchy_scale_entries", "alpha_draws", "heterogeneity"),
    estimate=estimate_tails,
)
