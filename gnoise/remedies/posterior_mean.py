"""What shrinking approximates: the exact posterior mean of a Gaussian signal under Cauchy noise."""

import numpy as np
from jaxtyping import Complex, Float
from scipy.special import wofz

_FAR = 30.0
"""|z| from which the terms below give double precision."""
_SERIES = (1.0 / 2.0, 3.0 / 4.0, 15.0 / 8.0, 105.0 / 16.0, 945.0 / 32.0, 10395.0 / 64.0)


def shrink_posterior_mean(
    x: Float[np.ndarray, "..."], *, signal_std: float, noise_scale: float
) -> Float[np.ndarray, "..."]:
    r"""Return the mean of g given x = g + n, with g ~ N(0, s²) and n ~ Cauchy(0, γ).

    $$\mathrm E[g \mid x] = x - \gamma\,\frac{\operatorname{Im} w(z)}{\operatorname{Re} w(z)},
    \qquad z = \frac{x + i\gamma}{s\sqrt2}$$

    with the Faddeeva function $w$, since $\operatorname{Re} w(z)$ is the density of x up to a constant. It grows
    linearly in the middle and falls again as $2s^2/x$ far out. There the two terms nearly cancel, and the
    asymptotic series of $w$, in which they do so exactly, takes over.

    Args:
        x: gradient entries.
        signal_std: s > 0, of the signal.
        noise_scale: γ > 0, half the noise's inter-quartile range.

    References:
        Song et al. 2026, arXiv 2605.27733, for the idea; the closed form is this project's.
    """
    z = (x + 1j * noise_scale) / (signal_std * np.sqrt(2.0))
    far = np.abs(z) > _FAR
    w = wofz(np.where(far, _FAR * 1j, z))  # what the other branch takes is put where it is harmless
    near = x - noise_scale * w.imag / w.real
    return np.where(far, _far_out(np.where(far, z, _FAR * 1j), signal_std), near)


def _far_out(z: Complex[np.ndarray, "..."], signal_std: float) -> Float[np.ndarray, "..."]:
    r"""Return the same from $w(z) = i(1 + h)/(z\sqrt\pi)$, $h = q/z^2 = \sum_k (2k-1)!!/(2z^2)^k$: no terms cancel."""
    inverse_sq = (1.0 / z) ** 2
    q = np.zeros_like(z)
    for coefficient in reversed(_SERIES):
        q = coefficient + inverse_sq * q
    turned = (np.conj(z) / np.abs(z)) ** 2
    return np.sqrt(2.0) * signal_std * np.imag(turned * q) / np.imag(np.conj(z) * (1.0 + q * inverse_sq))
