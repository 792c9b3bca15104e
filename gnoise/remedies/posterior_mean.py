"""What shrinking approximates: the exact posterior mean of a Gaussian signal under Cauchy noise."""

import numpy as np
from jaxtyping import Float
from scipy.special import wofz


def shrink_posterior_mean(
    x: Float[np.ndarray, "..."], *, signal_std: float, noise_scale: float
) -> Float[np.ndarray, "..."]:
    r"""Return the mean of g given x = g + n, with g ~ N(0, s²) and n ~ Cauchy(0, γ).

    $$\mathrm E[g \mid x] = x - \gamma\,\frac{\operatorname{Im} w(z)}{\operatorname{Re} w(z)},
    \qquad z = \frac{x + i\gamma}{s\sqrt2}$$

    with the Faddeeva function $w$, since $\operatorname{Re} w(z)$ is the density of x up to a constant. It grows
    linearly in the middle and falls again as $2s^2/x$ far out. In double precision the far tail loses
    digits as $\epsilon x^2/s^2$.

    Args:
        x: gradient entries.
        signal_std: s > 0, of the signal.
        noise_scale: γ > 0, half the noise's inter-quartile range.

    References:
        Song et al. 2026, arXiv 2605.27733, for the idea; the closed form is this project's.
    """
    w = wofz((x + 1j * noise_scale) / (signal_std * np.sqrt(2.0)))
    return x - noise_scale * w.imag / w.real
