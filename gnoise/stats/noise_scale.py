"""Noise scale: the batch size at which gradient noise and gradient signal are equal in size.

Squared norms at two sizes, one example and one block of draws, give |G|² and tr Σ of each block without bias.
Blocks are averaged first and divided once. Eight blocks are few, and their |G|² is skewed where noise has few
directions. Two corrections to plain Fieller allow for that:

- the variance of a block's |G|² is never taken for less than pure noise makes it, which the many more draws
  tell (their own two-size |G|² varies by the same tr Σ²);
- quantiles are Hall's, which allow for skewness.

Measured coverage of B_simple, 64 draws of 8 examples in 8 blocks, Gaussian noise with eigenvalues j⁰, j⁻¹ and
j⁻² in 2 and 10 dimensions, mean gradient in a random or the noisiest direction, 2,000 runs each:

    B_simple/8       0.1        1          10         100
    covers           .93–.96    .94–.96    .94–.97    .97–.99
    plain Fieller    .94–.96    .93–.95    .89–.95    .95–.97

and in 1,000 dimensions .92–.97, with .93–.996 from 10 on (250 runs each). High values come with one-sided
sets, where t on 7 degrees of freedom is wide for a variance the draws know well. Per-example norms as heavy
as those of t(2.5) noise break the interval of tr Σ (.55–.60; .68–.76 with Hall's quantiles) and with it that
of B_simple (.71–.97): :func:`gnoise.stats.spikes.heavy_tail_index` then sets ``HEAVY_TAILED``. That of |G|²
keeps .90–.96, since it rests on products of different examples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.fieller import FiellerSet, ratio_set, skewed_mean_interval, skewed_quantiles, skewness
from gnoise.stats.intervals import CONFIDENCE, Interval, clip_interval, estimate_of, no_estimate
from gnoise.stats.spikes import heavy_tail_index
from gnoise.stats.statistic import Statistic, Subject

_NO_NOISE = 1e-6


@dataclass(frozen=True)
class BlockMoments:
    """What each block of draws says, each without bias.

    Attributes:
        grad_sq_norm: |G|².
        trace_cov: tr Σ.
        variance_floor: the least variance a block's ``grad_sq_norm`` can have, as the spread of draws tells.
    """

    grad_sq_norm: Float[np.ndarray, " blocks"]
    trace_cov: Float[np.ndarray, " blocks"]
    variance_floor: float

    @property
    def covariance(self) -> Float[np.ndarray, "2 2"]:
        """Covariance of the means over blocks of ``trace_cov`` and ``grad_sq_norm``."""
        found = np.cov(self.trace_cov, self.grad_sq_norm)
        found[1, 1] = max(found[1, 1], self.variance_floor)
        return found / self.grad_sq_norm.size


def estimate_noise_scale(subject: Subject, sample: NormSample) -> list[Estimate]:
    """Estimate |G|², tr Σ and B_simple; ``n`` is the number of blocks compared.

    Args:
        subject: the layer or the model.
        sample: its norms.
    """
    blocks = sample.block_sq_norms.size
    status = _problem(sample)
    if status is not Status.OK:
        return [no_estimate(subject.name, quantity, status, blocks) for quantity in STATISTIC.quantities]
    scale = float(sample.example_sq_norms.max())
    moments = block_moments(sample, scale)
    index = heavy_tail_index(sample.example_sq_norms.ravel())
    heavy = "" if index is None else f"extreme-value index of squared example norms {index:.2f}"
    trace = float(moments.trace_cov.mean())
    constant = trace <= _NO_NOISE * (trace + abs(float(moments.grad_sq_norm.mean())))
    return [
        _grad_sq_norm(subject.name, moments, scale),
        _trace_cov(subject.name, moments, scale, constant, heavy),
        _b_simple(subject.name, moments, constant, heavy),
    ]


def grad_sq_norm_and_trace_cov(
    small_sq: Float[np.ndarray, "..."] | float,
    large_sq: Float[np.ndarray, "..."] | float,
    small_batch: float,
    large_batch: float,
) -> tuple[Float[np.ndarray, "..."] | float, Float[np.ndarray, "..."] | float]:
    r"""Split squared gradient norms at two batch sizes into signal and noise.

    $$|G|^2 = \frac{B\|g_B\|^2 - b\|g_b\|^2}{B - b}, \qquad
    \mathrm{tr}\,\Sigma = \frac{\|g_b\|^2 - \|g_B\|^2}{1/b - 1/B}$$

    Both are unbiased and either may come out negative. Average them over steps and add them over tensors;
    divide once, at the end: a mean of ratios is not the ratio.

    Args:
        small_sq: $\|g_b\|^2$, or its mean over gradients of that size.
        large_sq: $\|g_B\|^2$.
        small_batch: b, examples.
        large_batch: B, examples, more than b.

    Returns:
        $|G|^2$ and the trace of the covariance of a one-example gradient.

    References:
        McCandlish et al. 2018, arXiv 1812.06162, appendix A.1.
    """
    signal = (large_batch * large_sq - small_batch * small_sq) / (large_batch - small_batch)
    return signal, (small_sq - large_sq) / (1.0 / small_batch - 1.0 / large_batch)


def weighted_grad_sq_norm_and_trace_cov(
    sq_norms: Float[np.ndarray, " gradients"],
    example_sq_norms: Float[np.ndarray, "gradients examples"],
    weights: Float[np.ndarray, "gradients examples"],
) -> tuple[Float[np.ndarray, " gradients"], Float[np.ndarray, " gradients"]]:
    r"""Split the squared norm of a weighted mean of examples into signal and noise.

    $$|G|^2 = \frac{s - \sum_i w_i^2\|g_i\|^2}{1 - \sum_i w_i^2}, \qquad
    \mathrm{tr}\,\Sigma = \frac{\sum_i w_i\|g_i\|^2 - s}{1 - \sum_i w_i^2}, \qquad
    s = \Big\|\sum_i w_i g_i\Big\|^2$$

    with $\sum_i w_i = 1$: weighted means of $g_i \cdot g_j$ and of $\|g_i - g_j\|^2/2$ over pairs of
    different examples. Equal weights $1/b$ give the published form for the sizes 1 and b.

    Args:
        sq_norms: s of each gradient.
        example_sq_norms: $\|g_i\|^2$.
        weights: $w_i$, at least two of them in each gradient not zero.

    Returns:
        $|G|^2$ and the trace of the covariance of a one-example gradient.

    References:
        Gray et al. 2024, arXiv 2411.00999, for equal weights; weights are this project's.
    """
    rest = 1.0 - np.square(weights).sum(1)
    own = (np.square(weights) * example_sq_norms).sum(1)
    return (sq_norms - own) / rest, ((weights * example_sq_norms).sum(1) - sq_norms) / rest


def block_moments(sample: NormSample, scale: float = 1.0) -> BlockMoments:
    r"""Take |G|² and tr Σ of every block from the sizes one example and one block.

    Where gradients are noise alone, for a draw's weights as for a block's,

    $$\mathrm{Var}\,|G|^2 = 2\,\mathrm{tr}\,\Sigma^2\,\frac{q^2 - \sum_i w_i^4}{(1-q)^2}$$

    and signal adds to both. The floor is the draws' variance times the ratio of the two factors, as little as
    it can be in a block, and times $(t_{M-1}/t_{K-1})^2$ as it is known from M draws, not from K blocks.

    Args:
        sample: finite norms, two or more draws in each of two or more blocks.
        scale: divides all squared norms, so that no square overflows.
    """
    blocks, (draws, _) = sample.block_sq_norms.size, sample.example_sq_norms.shape
    per_draw = np.asarray(sample.example_weights, np.float64)
    per_block = per_draw.reshape(blocks, -1) * (blocks / draws)
    examples = sample.example_sq_norms / scale
    signal, trace = weighted_grad_sq_norm_and_trace_cov(
        sample.block_sq_norms / scale, examples.reshape(blocks, -1), per_block
    )
    floor = 0.0
    if np.all(np.square(per_draw).sum(1) < 1.0 - 1e-9):
        of_draws, _ = weighted_grad_sq_norm_and_trace_cov(sample.draw_sq_norms / scale, examples, per_draw)
        ratio = _pure_noise_factor(per_block) / _pure_noise_factor(per_draw)
        quantiles = stdtrit(np.array([draws - 1, blocks - 1]), 0.5 + CONFIDENCE / 2.0)
        floor = float(of_draws.var(ddof=1) * ratio * (quantiles[0] / quantiles[1]) ** 2)
    return BlockMoments(grad_sq_norm=signal, trace_cov=trace, variance_floor=floor)


def noise_scale_set(moments: BlockMoments) -> FiellerSet:
    """Find the noise scales that the blocks leave possible: Fieller's set with Hall's quantiles.

    Skewness is that of tr Σ − B |G|² at the estimated B (at infinity where |G|² is not positive).

    Args:
        moments: of two blocks or more.
    """
    means = np.array([moments.trace_cov.mean(), moments.grad_sq_norm.mean()])
    direction = np.array([max(means[1], 0.0), -means[0]])
    contrast = direction[0] * moments.trace_cov + direction[1] * moments.grad_sq_norm
    covariance = moments.covariance
    skew = skewness(contrast, float(np.sqrt(direction @ covariance @ direction)))
    return ratio_set(means, covariance, skewed_quantiles(skew, contrast.size))


def _pure_noise_factor(weights: Float[np.ndarray, "gradients examples"]) -> float:
    squares = np.square(weights)
    total = squares.sum(1)
    return float(np.mean((np.square(total) - np.square(squares).sum(1)) / np.square(1.0 - total)))


def _problem(sample: NormSample) -> Status:
    draws, blocks = sample.draw_sq_norms.size, sample.block_sq_norms.size
    if blocks < 2 or draws < 2 * blocks:
        return Status.TOO_FEW_DRAWS
    arrays = (sample.example_sq_norms, sample.draw_sq_norms, sample.block_sq_norms, sample.example_weights)
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return Status.NON_FINITE
    return Status.OK if np.any(sample.example_sq_norms) else Status.ALL_ZERO


def _mean_interval(values: Float[np.ndarray, " blocks"], variance: float, scale: float) -> Interval:
    found = skewed_mean_interval(values, float(np.sqrt(variance)))
    scaled = Interval(found.value * scale, found.stderr * scale, found.low * scale, found.high * scale)
    return clip_interval(scaled, 0.0, np.inf)


def _grad_sq_norm(name: str | None, moments: BlockMoments, scale: float) -> Estimate:
    values = moments.grad_sq_norm
    if values.mean() <= 0.0:
        return no_estimate(name, "grad_sq_norm", Status.NO_SIGNAL, values.size)
    interval = _mean_interval(values, moments.covariance[1, 1], scale)
    return estimate_of(name, "grad_sq_norm", interval, values.size)


def _trace_cov(name: str | None, moments: BlockMoments, scale: float, constant: bool, heavy: str) -> Estimate:
    values = moments.trace_cov
    if constant:
        return no_estimate(name, "trace_cov", Status.CONSTANT, values.size)
    found = _mean_interval(values, moments.covariance[0, 0], scale)
    status = Status.HEAVY_TAILED if heavy else Status.OK
    return Estimate(name, "trace_cov", found.value, found.low, found.high, found.stderr, values.size, status, heavy)


def _b_simple(name: str | None, moments: BlockMoments, constant: bool, heavy: str) -> Estimate:
    blocks = moments.grad_sq_norm.size
    if constant:
        return no_estimate(name, "b_simple", Status.CONSTANT, blocks)
    possible = noise_scale_set(moments)
    signal = float(moments.grad_sq_norm.mean())
    if signal <= 0.0:
        low = possible.low if possible.low > 0.0 else None
        return Estimate(name, "b_simple", None, low, None, None, blocks, Status.NO_SIGNAL, heavy)
    status = Status.OK if possible.high is not None else Status.ONE_SIDED
    value = float(moments.trace_cov.mean()) / signal
    return Estimate(
        name,
        "b_simple",
        value,
        min(possible.low, value),
        None if possible.high is None else max(possible.high, value),
        stderr=None,
        n=blocks,
        status=Status.HEAVY_TAILED if heavy else status,
        note=heavy,
    )


STATISTIC = Statistic(
    name="noise_scale",
    needs=NormSample,
    quantities=("grad_sq_norm", "trace_cov", "b_simple"),
    estimate=estimate_noise_scale,
    whole_model=True,
)
