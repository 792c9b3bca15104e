"""Norm spikes: how far the loudest draw and the loudest example stand above the middle.

The largest of n values is one number and has no standard error. What it estimates is the middle of where
the largest of as many fresh values would fall, F⁻¹(2^(−1/n)), which half of all maxima exceed. The lower end
needs no law: the fourth largest value lies below with probability above 99%. The upper end comes from the
eight largest, as if they had a Pareto tail, which is too wide for lighter ones. A maximum beyond that end is
one that the other draws do not predict, and then there is no upper end (``ONE_SIDED``).

Measured coverage, 64 values: lognormal norms with log-sd 0.1, 0.5, 1: .98; χ₁₀ .98; Pareto with exponent 2:
.975; norms of t(2.5) noise .975; 1% and 5% of draws ten times as loud: .92, .96. Spikes rarer than one in all
the draws cannot be known of. For c_v: lognormal with log-sd 0.1, 0.3, 0.5: .95, .95, .90; χ₁₀ .95.
"""

from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.special import betainc, betaincinv, gammaincinv

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.fieller import skewed_quantiles, skewness
from gnoise.stats.intervals import CONFIDENCE, Interval, jackknife_stderr, no_estimate
from gnoise.stats.level import over_level
from gnoise.stats.statistic import Statistic, Subject

FEWEST_NORMS = 16
"""Norms it takes to speak of their largest."""
_TAIL = 8
_FEWEST_FOR_INDEX = 48
_TOO_HEAVY = 0.55
_NAMED = 5
_SAME = 1e-6
_MOVING = "each draw over those around it, as the weights move"


def estimate_spikes(subject: Subject, sample: NormSample) -> list[Estimate]:
    """Estimate how far the loudest draw and example stand above the median, and how much draw norms vary.

    Draws and examples whose gradient is exactly zero take no part in the two ratios (a token's row that
    most draws never reach has no middle otherwise); ``n`` counts the others. Where weights move, norms are
    taken over their level, see :func:`gnoise.stats.level.over_level`.

    Args:
        subject: the layer or the model.
        sample: its norms.
    """
    name, of_draws, of_examples = subject.name, sample.draw_sq_norms, sample.example_sq_norms
    if subject.moving:
        of_draws, of_examples = over_level(of_draws), over_level(of_examples)
    return [
        _ratio(name, "spike_ratio", of_draws, _MOVING if subject.moving else ""),
        _variation(name, of_draws),
        _ratio(name, "example_spike_ratio", of_examples.ravel(), _loudest(subject, of_examples)),
    ]


def estimate_clip_rate(subject: Subject, sample: NormSample) -> list[Estimate]:
    r"""Estimate how often the checkpoint's own global clip threshold would cut a draw, before clipping.

    The share of draws with $\|g_m\|$ above the threshold, and its Clopper–Pearson interval, which covers
    with at least 95% whatever the share. It is the share for batches of the size of a draw, which the note
    gives, not for the checkpoint's.

    Args:
        subject: the model; nothing is reported for a layer, or where no threshold is known.
        sample: its norms.
    """
    threshold = _threshold(subject)
    if threshold is None:
        return []
    draws, examples = sample.example_sq_norms.shape
    note = f"threshold {threshold:g}, {examples} examples a draw"
    if draws == 0 or not np.all(np.isfinite(sample.draw_sq_norms)):
        status = Status.NON_FINITE if draws else Status.TOO_FEW_DRAWS
        return [no_estimate(None, "clip_rate", status, draws, note)]
    if not np.any(sample.draw_sq_norms):
        return [no_estimate(None, "clip_rate", Status.ALL_ZERO, draws, note)]
    fired = int(np.count_nonzero(np.sqrt(sample.draw_sq_norms) > threshold))
    low, high = binomial_interval(fired, draws)
    return [Estimate(None, "clip_rate", fired / draws, low, high, None, draws, Status.OK, note)]


def binomial_interval(successes: int, trials: int) -> tuple[float, float]:
    """Find the Clopper–Pearson 95% interval of a share.

    Args:
        successes: between 0 and ``trials``.
        trials: one or more.

    References:
        Clopper & Pearson 1934, *The use of confidence or fiducial limits*, Biometrika 26(4).
    """
    miss = (1.0 - CONFIDENCE) / 2.0
    low = float(betaincinv(successes, trials - successes + 1, miss)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1.0 - miss)) if successes < trials else 1.0
    return low, high


def largest_over_median(norms: Float[np.ndarray, " n"]) -> tuple[float, float, float | None]:
    r"""Compare the largest norm with the median: value, lower and upper end.

    Above threshold $x_{(n-k)}$, with $H$ the mean log excess of the k values over it, a Pareto tail gives

    $$\frac{\ln F^{-1}(2^{-1/n}) - \ln x_{(n-k)}}{H} \sim
    \frac{\ln B - \ln(1 - 2^{-1/n})}{G},\quad B\sim\mathrm{Beta}(k+1, n-k),\ G\sim\Gamma(k)/k$$

    free of its scale and exponent; $k = 8$, and less below 32 values.

    Args:
        norms: positive, 16 or more.

    Returns:
        The ratio and its 95% interval; no upper end where the largest lies beyond it.

    References:
        Weissman 1978 for the quantile; Rényi 1953 for the spacings. The interval is this project's.
    """
    ordered = np.sort(norms.astype(np.float64))
    tail = min(_TAIL, ordered.size // 4)
    median = float(np.median(ordered))
    threshold = float(np.log(ordered[-tail - 1]))
    excess = float(np.log(ordered[-tail:]).mean()) - threshold
    high = float(np.exp(threshold + excess * pareto_reach(ordered.size, tail)))
    value = float(ordered[-1])
    return value / median, float(ordered[-4]) / median, None if high < value else high / median


@cache
def pareto_reach(n: int, tail: int) -> float:
    """Solve for the upper quantile of the pivot in :func:`largest_over_median`.

    Args:
        n: values.
        tail: k of them in the tail, fewer than n.
    """
    beyond = -float(np.expm1(-np.log(2.0) / n))
    cells = 400
    means = gammaincinv(tail, (np.arange(cells) + 0.5) / cells) / tail

    def probability(reach: float) -> float:
        reached = np.minimum(1.0, beyond * np.exp(np.minimum(reach * means, 700.0)))
        return float(betainc(tail + 1, n - tail, reached).mean())

    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if probability(middle) < 0.5 + CONFIDENCE / 2.0 else (low, middle)
    return high


def coefficient_of_variation(norms: Float[np.ndarray, " n"]) -> Interval:
    r"""Estimate $c_v$ = standard deviation over mean, with an interval made on its log.

    The delete-one jackknife's standard error of $\ln c_v$, with quantiles corrected for the skewness of the
    jackknife's own values: without it too many intervals end below the truth.

    Args:
        norms: four or more, not negative, at least two of them positive. Where one is left out, a c_v of the
            others below 1e-6 counts as 1e-6.

    References:
        Efron & Stein 1981 for the jackknife; Hall 1992 for the skewness.
    """
    n = norms.size
    scaled = norms / norms.max()
    mean = float(scaled.mean(dtype=np.float64))
    deviation = scaled - mean
    squares = float(np.square(deviation).sum())
    others_mean = mean - deviation / (n - 1)
    others_squares = np.maximum(squares - np.square(deviation) * n / (n - 1), 0.0)
    left_out = np.log(np.maximum(np.sqrt(others_squares / (n - 2)) / others_mean, _SAME))
    full = float(np.sqrt(squares / (n - 1))) / mean
    stderr = jackknife_stderr(left_out)
    below, above = skewed_quantiles(skewness(-(n - 1.0) * left_out, stderr), n)
    low, high = full * float(np.exp(-above * stderr)), full * float(np.exp(below * stderr))
    return Interval(full, full * stderr, low, high)


def heavy_tail_index(sq_norms: Float[np.ndarray, " n"]) -> float | None:
    r"""Estimate the extreme-value index of squared norms where it is too large for intervals of their mean.

    The moment estimator $M_1 + 1 - \frac12 (1 - M_1^2/M_2)^{-1}$ with $M_j$ the mean j-th power of the log
    excesses in the top tenth (at least 25 values, or a quarter). From ½ on the squared norm has no variance;
    0.55 is asked for. 512 values pass it in 83–90% of runs when noise is t(2.5) as a vector, in 62–88% when
    its 2–300 entries are; in 0% for Gaussian noise, at most 1% for t(8), 1–4% for lognormal norms with log-sd
    0.5 (14% in two dimensions), 8–18% for t(5).

    Args:
        sq_norms: not negative; zeros are left out.

    Returns:
        The index where it is above 0.55; ``None`` where it is not, or for fewer than 48 values.

    References:
        Dekkers, Einmahl & de Haan 1989, *A moment estimator for the index of an extreme-value distribution*.
    """
    positive = np.sort(sq_norms[sq_norms > 0.0].astype(np.float64))
    if positive.size < _FEWEST_FOR_INDEX:
        return None
    tail = max(positive.size // 10, min(25, positive.size // 4))
    excess = np.log(positive[-tail:]) - np.log(positive[-tail - 1])
    first, second = float(excess.mean()), float(np.square(excess).mean())
    lack = second - first**2
    if lack <= _SAME * second:
        return None
    index = first + 1.0 - 0.5 * second / lack
    return index if index > _TOO_HEAVY else None


def _problem(sq_norms: Float[np.ndarray, "..."], used: Float[np.ndarray, " n"]) -> Status:
    if sq_norms.size == 0:
        return Status.TOO_FEW_DRAWS
    if not np.all(np.isfinite(sq_norms)):
        return Status.NON_FINITE
    if not np.any(sq_norms):
        return Status.ALL_ZERO
    if np.count_nonzero(sq_norms) < FEWEST_NORMS:
        return Status.TOO_FEW_DRAWS
    return Status.CONSTANT if np.ptp(used) <= _SAME * used.max() else Status.OK


def _ratio(name: str | None, quantity: str, sq_norms: Float[np.ndarray, " n"], note: str = "") -> Estimate:
    norms = np.sqrt(sq_norms[sq_norms > 0.0])
    status = _problem(sq_norms, norms)
    if status is not Status.OK:
        return no_estimate(name, quantity, status, norms.size)
    value, low, high = largest_over_median(norms)
    status = Status.ONE_SIDED if high is None else Status.OK
    return Estimate(name, quantity, value, low, high, stderr=None, n=norms.size, status=status, note=note)


def _variation(name: str | None, sq_norms: Float[np.ndarray, " draws"]) -> Estimate:
    norms = np.sqrt(sq_norms)
    status = _problem(sq_norms, norms)
    if status is not Status.OK:
        return no_estimate(name, "norm_cv", status, norms.size)
    found = coefficient_of_variation(norms)
    index = heavy_tail_index(sq_norms)
    return Estimate(
        layer=name,
        quantity="norm_cv",
        value=found.value,
        low=found.low,
        high=found.high,
        stderr=found.stderr,
        n=norms.size,
        status=Status.OK if index is None else Status.HEAVY_TAILED,
        note="" if index is None else f"extreme-value index of squared draw norms {index:.2f}",
    )


def _loudest(subject: Subject, sq_norms: Float[np.ndarray, "draws examples"]) -> str:
    """Name the loudest examples and their losses, loudest first; the same example is named once."""
    if subject.draws is None or subject.draws.example_ids.shape != sq_norms.shape:
        return ""
    ids, of_each = subject.draws.example_ids.ravel(), subject.draws.example_losses.ravel()
    losses: dict[int, float] = {}
    for at in np.argsort(sq_norms, axis=None, kind="stable")[::-1][: 10 * _NAMED]:
        losses.setdefault(int(ids[at]), float(of_each[at]))
    return "example " + ", ".join(f"{name} (loss {losses[name]:.2f})" for name in list(losses)[:_NAMED])


def _threshold(subject: Subject) -> float | None:
    found = subject.optimizer.get("clip_global_norm") if subject.layer is None else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if np.isfinite(found) and found > 0.0 else None


STATISTIC = Statistic(
    name="spikes",
    needs=NormSample,
    quantities=("spike_ratio", "norm_cv", "example_spike_ratio"),
    estimate=estimate_spikes,
    whole_model=True,
)

CLIP_RATE = Statistic(
    name="clip_rate",
    needs=NormSample,
    quantities=("clip_rate",),
    estimate=estimate_clip_rate,
    whole_model=True,
)
