"""Update equations of remedies and optimizers, written once with operators only.

NumPy arrays (evidence on recorded draws) and torch tensors (training) both pass through: nothing here
imports either. Every remedy's neutral setting, a limit or scale of infinity, returns its argument bit for bit.
"""

from typing import Any

Array = Any
"""A NumPy array or a torch tensor; what comes out is what went in."""

_TINY = 1e-38


def clip_value(x: Array, limit: Array) -> Array:
    """Clip every entry to ±limit.

    Args:
        x: gradient entries.
        limit: τ > 0, one number or one an entry; infinity changes nothing.
    """
    return x.clip(-limit, limit)


def shrink_rational(x: Array, scale: Array) -> Array:
    r"""Shrink entries beyond a scale back towards zero: $x / (1 + (x/\tau)^2)$.

    A tractable form of the posterior mean of a Gaussian signal under Cauchy noise; redescends as $\tau^2/x$.

    Args:
        x: gradient entries.
        scale: τ > 0; infinity changes nothing.

    References:
        Song et al. 2026, arXiv 2605.27733, for the idea; this form is this project's.
    """
    return x / (1.0 + (x / scale) ** 2)


def shrink_quartic(x: Array, scale: Array) -> Array:
    r"""Shrink with a flatter middle and a faster fall: $x / (1 + (x/\tau)^4)$."""
    return x / (1.0 + ((x / scale) ** 2) ** 2)


def shrink_saturating(x: Array, scale: Array) -> Array:
    r"""Shrink without ever falling again: $x / \sqrt{1 + (x/\tau)^2}$, which tends to ±τ.

    The safe form: a true rare gradient, as of a rare token's row, is bounded, never deleted.
    """
    return x / (1.0 + (x / scale) ** 2) ** 0.5


def lower_spikes(x: Array, limit: Array, largest: Array) -> Array:
    r"""Scale entries beyond a limit by limit / largest: $x\,\tau/M$ where $|x| > \tau$, and x elsewhere.

    Args:
        x: gradient entries.
        limit: τ > 0.
        largest: M, the largest |x| there is; above the limit, or nothing is changed.

    References:
        AdaClip of Stable-SPAM, arXiv 2502.17055, versions 1 and 2.
    """
    return x * (1.0 - (abs(x) > limit) * (1.0 - limit / largest))


def clip_norm_factor(norm: Array, clip_norm: Array) -> Array:
    r"""Factor that bounds a norm: $\min(1, c/\|g\|)$.

    Args:
        norm: ‖g‖ of a tensor or of the model, as an array.
        clip_norm: c, one number or one a norm; infinity gives exactly 1.
    """
    return (clip_norm / norm.clip(min=_TINY)).clip(max=1.0)


def zclip_limit(norm: Array, mean: Array, variance: Array, z: float) -> Array:
    r"""Norm that an outlier among norms is brought down to: $\mu + z^2\sigma^2/(\|g\|-\mu)$.

    Below $\mu + z\sigma$ the limit is above the norm itself, so nothing happens there.

    Args:
        norm: ‖g‖.
        mean: μ of past norms.
        variance: σ² of past norms.
        z: deviations from which a norm counts as an outlier.

    References:
        ZClip, arXiv 2504.02507.
    """
    return mean + z**2 * variance / (norm - mean).clip(min=_TINY)


def ema(previous: Array, value: Array, decay: float) -> Array:
    """Exponential moving average: decay · previous + (1 − decay) · value."""
    return decay * previous + (1.0 - decay) * value


def bias_corrected(average: Array, decay: float, step: Array) -> Array:
    """Take out the pull of a zero start from a moving average.

    Args:
        average: after ``step`` values.
        decay: in [0, 1).
        step: counts from 1; one number or one an average.
    """
    return average / (1.0 - decay**step)


def cauchy_gaussian_scales(low: Array, high: Array, frequencies: tuple[float, float]) -> tuple[Array, Array]:
    r"""Read the Cauchy and the Gaussian part of a law off its characteristic function at two frequencies.

    $-\log|\varphi(t)| = \gamma t + s^2t^2/2$ for the sum of a Cauchy variable of scale γ and a Gaussian one of
    standard deviation s. Where one part would come out negative it is zero and the other explains the
    lower frequency alone.

    Args:
        low: −log|φ| at the lower frequency, not negative.
        high: −log|φ| at the higher one.
        frequencies: t₁ < t₂.

    Returns:
        γ and s².
    """
    t, u = frequencies
    slope = low / t
    sq = (2.0 / (u - t) * (high / u - slope)).clip(min=0.0)
    cauchy = (slope - t / 2.0 * sq).clip(min=0.0)
    return cauchy, 2.0 / t * (slope - cauchy)


def stabilizer_ratio(norm_average: Array, sq_norm_average: Array) -> Array:
    r"""Norm that a stabilized gradient gets: $\rho = m / \sqrt{v}$, both bias-corrected.

    Args:
        norm_average: m, moving average of ‖g‖.
        sq_norm_average: v, moving average of ‖g‖².

    References:
        GradientStabilizer, arXiv 2502.17055.
    """
    return norm_average / sq_norm_average.clip(min=_TINY) ** 0.5


def sgd_momentum(buffer: Array, grad: Array, momentum: float) -> Array:
    """Next momentum buffer of SGD as torch has it (no dampening): momentum · buffer + grad."""
    return momentum * buffer + grad


def adam_direction(
    first: Array, second: Array, *, step: int, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Array:
    r"""Direction of an Adam step, $\hat m / (\sqrt{\hat v} + \epsilon)$, to be multiplied by −lr.

    Args:
        first: moving average of gradients.
        second: moving average of squared gradients.
        step: counts from 1.
        betas: the two decays.
        eps: added to the root of the *corrected* second moment, as in torch.

    References:
        Kingma & Ba 2015, arXiv 1412.6980.
    """
    return adam_ratio(bias_corrected(first, betas[0], step), bias_corrected(second, betas[1], step), eps)


def adam_ratio(first: Array, second: Array, eps: float) -> Array:
    r"""Adam's direction from moments without a start's pull: $m / (\sqrt v + \epsilon)$.

    Args:
        first: m, bias-corrected.
        second: v, likewise.
        eps: added to the root.
    """
    return first / (second**0.5 + eps)


def noise_adaptive_rate(noise: Array, reference: float) -> Array:
    r"""Rate a layer deserves under its gradient noise: $\alpha_l = \alpha / \sqrt{\alpha^2 + H_l}$.

    Args:
        noise: H_l, running squared dual norm of the gradient's change.
        reference: α > 0, a dual norm; infinity gives exactly 1.

    References:
        LANTON, arXiv 2510.14009.
    """
    return (1.0 + noise / reference**2) ** -0.5


def lr_multiplier(rate: Array, group_max: Array) -> Array:
    r"""Learning-rate multiplier of a layer, $\sqrt{\alpha_l / \max \alpha}$: the quietest layer keeps the rate.

    References:
        LANTON, arXiv 2510.14009.
    """
    return (rate / group_max) ** 0.5
