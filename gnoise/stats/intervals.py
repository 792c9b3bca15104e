"""Intervals from comparing blocks of draws: the one place where a standard error becomes two ends.

Entries of one draw depend on each other, so nothing in this room counts entries. A statistic is
computed with each block of consecutive draws left out in turn, and what those values scatter by is
its standard error.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.records import Estimate, Status

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A finite value, its standard error and the two ends of its 95% interval.

    Attributes:
        value: point estimate.
        stderr: standard error, not negative.
        low: lower end, at most ``value``.
        high: upper end, at least ``value``.
    """

    value: float
    stderr: float
    low: float
    high: float


def t_interval(value: float, stderr: float, freedom: float, *, confidence: float = CONFIDENCE) -> Interval:
    r"""Build the Student-t interval $\hat\theta \pm t_\nu\,\mathrm{se}$.

    Args:
        value: $\hat\theta$.
        stderr: its standard error.
        freedom: degrees of freedom $\nu$, positive; the normal interval as it grows.
        confidence: probability that the interval covers; reported intervals leave it at 95%.
    """
    half = float(stdtrit(freedom, 0.5 + confidence / 2.0)) * stderr
    return Interval(value=value, stderr=stderr, low=value - half, high=value + half)


def jackknife(left_out: Float[np.ndarray, " blocks"], full: float) -> Interval:
    r"""Build the delete-one-block jackknife interval with Student-t on blocks − 1 degrees of freedom.

    $$\mathrm{se}^2 = \frac{B-1}{B} \sum_b (\hat\theta_{(b)} - \bar\theta_{(\cdot)})^2$$

    The value is ``full`` as it stands, without the jackknife's correction for bias: with eight blocks
    the correction adds more variance than it takes away bias. For means of equal blocks the interval
    is exactly the usual t interval over block means. Medians and maxima of few values are not smooth
    enough for it; ratios whose denominator may be zero want Fieller's interval instead.

    Args:
        left_out: the statistic with block b left out, two or more finite values.
        full: the statistic of all blocks, finite.

    References:
        Efron & Stein 1981, *The jackknife estimate of variance*, Annals of Statistics 9(3), equation 1.4.
        Tukey 1958 for the t interval.
    """
    return t_interval(full, jackknife_stderr(left_out), left_out.size - 1)


def jackknife_stderr(left_out: Float[np.ndarray, " blocks"]) -> float:
    """Compute the delete-one-block jackknife standard error alone.

    Args:
        left_out: the statistic with block b left out, two or more finite values.
    """
    return float(np.sqrt(np.square(jackknife_deviations(left_out)).sum()))


def jackknife_deviations(left_out: Float[np.ndarray, " blocks"]) -> Float[np.ndarray, " blocks"]:
    """Scale deviations from the mean so that their squares add up to the jackknife variance.

    Products of two statistics' deviations add up to their covariance; a block which one statistic does not see
    contributes nothing to it.

    Args:
        left_out: the statistic with block b left out, two or more finite values.
    """
    blocks = left_out.size
    return np.sqrt((blocks - 1) / blocks) * (left_out - left_out.mean(dtype=np.float64))


def clip_interval(interval: Interval, low: float, high: float) -> Interval:
    """Move value and ends into the quantity's possible range, leaving the standard error as it is.

    Args:
        interval: before clipping.
        low: smallest possible value, e.g. 0 for a variance.
        high: largest possible value, e.g. 2 for a stable index.
    """
    return replace(
        interval,
        value=min(max(interval.value, low), high),
        low=min(max(interval.low, low), high),
        high=min(max(interval.high, low), high),
    )


def estimate_of(layer: str | None, quantity: str, interval: Interval, n: int, note: str = "") -> Estimate:
    """Report an interval as an estimate with status ``OK``.

    Args:
        layer: layer name; ``None`` for the whole model.
        quantity: a name from :mod:`gnoise.quantities`.
        interval: what was found.
        n: independent values (draws, pairs or blocks) behind it.
        note: names behind the number.
    """
    return Estimate(
        layer=layer,
        quantity=quantity,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        stderr=interval.stderr,
        n=n,
        status=Status.OK,
        note=note,
    )


def no_estimate(layer: str | None, quantity: str, status: Status, n: int = 0, note: str = "") -> Estimate:
    """Report that there is no number, and why.

    Args:
        layer: layer name; ``None`` for the whole model.
        quantity: a name from :mod:`gnoise.quantities`.
        status: the reason, not ``OK``.
        n: independent values that were there.
        note: what a reader may want to know besides.
    """
    return Estimate(
        layer=layer,
        quantity=quantity,
        value=None,
        low=None,
        high=None,
        stderr=None,
        n=n,
        status=status,
        note=note,
    )
