"""Confidence sets for a ratio of means, and quantiles that allow for skewed values.

A ratio whose denominator may be zero has no finite standard error; Fieller's set has no need of one.
It may have no upper end, and then that is what is reported: "at least x".
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.errors import UserError
from gnoise.stats.intervals import CONFIDENCE, Interval


class FiellerKind(StrEnum):
    """What part of the half line from zero up a set leaves possible."""

    BOUNDED = "bounded"
    ONE_SIDED = "one_sided"
    UNBOUNDED = "unbounded"


@dataclass(frozen=True)
class FiellerSet:
    """The ratios, zero and above, that paired values cannot rule out.

    Attributes:
        kind: both ends, a lower end only, or nothing ruled out.
        low: lower end; 0 where there is none above it.
        high: upper end; ``None`` where every large ratio is possible.
    """

    kind: FiellerKind
    low: float
    high: float | None


def fieller_set(
    numerator: Float[np.ndarray, " n"], denominator: Float[np.ndarray, " n"], level: float = CONFIDENCE
) -> FiellerSet:
    r"""Find the ratios of means that paired values leave possible.

    $$(\bar N - \theta \bar D)^2 \le t^2_{n-1}\,(s_N^2 - 2\theta s_{ND} + \theta^2 s_D^2)/n$$

    is exact for Gaussian pairs, whatever the true denominator. Unlike Fieller's it is cut to
    ratios that are not negative.

    Args:
        numerator: one value of each pair; its mean is known to be positive in truth.
        denominator: the other; its mean is known not to be negative in truth.
        level: probability that the set holds the true ratio.

    Raises:
        UserError: for fewer than two pairs.

    References:
        Fieller 1954, *Some problems in interval estimation*, J. R. Statist. Soc. B 16(2).
    """
    pairs = numerator.size
    if pairs < 2:
        raise UserError(f"expected two or more pairs, got {pairs}; try fieller_set on more draws")
    quantile = float(stdtrit(pairs - 1, 0.5 + level / 2.0))
    means = np.array([numerator.mean(dtype=np.float64), denominator.mean(dtype=np.float64)])
    return ratio_set(means, np.cov(numerator, denominator) / pairs, (quantile, quantile))


def ratio_set(
    means: Float[np.ndarray, "2"], covariance: Float[np.ndarray, "2 2"], quantiles: tuple[float, float]
) -> FiellerSet:
    r"""Find the ratios $\theta \ge 0$ with $-q_0 \le (\bar N - \theta\bar D)/\mathrm{se}(\theta) \le q_1$.

    Each end solves $a\theta^2 - 2b\theta + c = 0$ with $a = \bar D^2 - q^2 v_D$,
    $b = \bar N\bar D - q^2 v_{ND}$, $c = \bar N^2 - q^2 v_N$ and its own quantile; with two equal
    quantiles this is Fieller's set.

    Args:
        means: of numerator and denominator.
        covariance: of those means.
        quantiles: both positive: how far $\bar N - \theta\bar D$ may lie below zero, and above it.
    """
    below, above = quantiles
    low = _lower_end(*_quadratic(means, covariance, above)) if means[0] > 0.0 else 0.0
    high = _upper_end(*_quadratic(means, covariance, below)) if means[1] > 0.0 else None
    if low is None or (high is not None and high <= 0.0):
        return FiellerSet(FiellerKind.UNBOUNDED, 0.0, None)
    if high is not None:
        return FiellerSet(FiellerKind.BOUNDED, low, high)
    return FiellerSet(FiellerKind.ONE_SIDED if low > 0.0 else FiellerKind.UNBOUNDED, low, None)


def skewness(values: Float[np.ndarray, " n"], stderr: float) -> float:
    r"""Estimate the skewness of values whose mean has a standard error found elsewhere.

    $$\hat\gamma = \frac{n^2}{(n-1)(n-2)} \cdot \frac{\overline{(x - \bar x)^3}}{(\sqrt n\,\mathrm{se})^3}$$

    Args:
        values: three or more; for fewer there is no skewness to see and 0 is returned.
        stderr: of their mean; $s/\sqrt n$ gives the usual coefficient, 0 gives 0.
    """
    n = values.size
    spread = stderr * np.sqrt(n)
    if n < 3 or spread == 0.0:
        return 0.0
    centred = (values - values.mean(dtype=np.float64)) / spread
    return float(n**2 / ((n - 1) * (n - 2)) * np.power(centred, 3).mean())


def skewed_quantiles(skew: float, n: int, level: float = CONFIDENCE) -> tuple[float, float]:
    r"""Find how far below and above zero a t statistic of skewed values reaches.

    Hall's transformation
    $f(t) = t + \frac{\gamma t^2}{3\sqrt n} + \frac{\gamma^2 t^3}{27 n} + \frac{\gamma}{6\sqrt n}$ of
    $t = (\bar x - \mu)/\mathrm{se}$ takes the skewness out, and is monotone. Unlike Hall's it is compared
    with Student's t on n − 1 degrees of freedom, for few values. The interval is
    $(\bar x - t_1\,\mathrm{se},\ \bar x + t_0\,\mathrm{se})$.

    Args:
        skew: $\gamma$ of one value.
        n: values averaged, two or more.
        level: probability between the two.

    References:
        Hall 1992, *On the removal of skewness by transformation*, J. R. Statist. Soc. B 54(1), section 2.
    """
    quantile = float(stdtrit(n - 1, 0.5 + level / 2.0))
    tilt = skew / np.sqrt(n)
    if abs(tilt) < 1e-6:
        return quantile, quantile
    ends = np.array([-quantile, quantile])
    below, above = 3.0 / tilt * (np.cbrt(1.0 + tilt * (ends - tilt / 6.0)) - 1.0)
    return -float(below), float(above)


def skewed_mean_interval(values: Float[np.ndarray, " n"], stderr: float | None = None) -> Interval:
    """Build the interval of a mean with quantiles from :func:`skewed_quantiles`.

    Args:
        values: independent, two or more.
        stderr: of their mean where more is known than their own spread; that spread over √n otherwise.
    """
    n = values.size
    if stderr is None:
        stderr = float(values.std(ddof=1)) / float(np.sqrt(n))
    below, above = skewed_quantiles(skewness(values, stderr), n)
    mean = float(values.mean(dtype=np.float64))
    return Interval(mean, stderr, mean - above * stderr, mean + below * stderr)


def _quadratic(
    means: Float[np.ndarray, "2"], covariance: Float[np.ndarray, "2 2"], quantile: float
) -> tuple[float, float, float]:
    a = means[1] ** 2 - quantile**2 * covariance[1, 1]
    b = means[0] * means[1] - quantile**2 * covariance[0, 1]
    c = means[0] ** 2 - quantile**2 * covariance[0, 0]
    return float(a), float(b), float(c)


def _lower_end(a: float, b: float, c: float) -> float | None:
    """Solve for the smallest possible ratio; ``None`` where no ratio is possible."""
    if c <= 0.0:
        return 0.0
    reach = b + float(np.sqrt(max(b * b - a * c, 0.0)))
    return c / reach if reach > 0.0 else None


def _upper_end(a: float, b: float, c: float) -> float | None:
    """Solve for the largest possible ratio; ``None`` where all large ones are possible."""
    return None if a <= 0.0 else (b + float(np.sqrt(max(b * b - a * c, 0.0)))) / a
