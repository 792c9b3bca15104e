"""The largest singular value of a random matrix: where the bulk ends, and how far beyond it chance reaches."""

from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid

EXACT_SIDE = 256
"""Up to this smaller side the whole spectrum is computed."""
BLOCK_SHORT, BLOCK_LONG = 128, 512
"""Above it the bulk is read from a random block, with at most this many lines along the smaller and larger side."""
_NEGLIGIBLE = 1e-5
_ASPECTS = 257
_ANGLES = 4097


def spectral_edge(m: int, n: int) -> float:
    r"""Give the end of the bulk of singular values of m × n independent entries of variance 1.

    $$\sqrt m + \sqrt n$$

    References:
        Marchenko & Pastur 1967; Davidson & Szarek 2001, theorem II.13, for Gaussian entries of any size.
    """
    return float(np.sqrt(m) + np.sqrt(n))


def marchenko_pastur_median(m: int, n: int) -> float:
    r"""Give the median singular value of m × n independent entries of variance 1.

    With $y = \min(m, n)/\max(m, n)$ the squared singular values over $\max(m, n)$ have density
    $\sqrt{(b - x)(x - a)} / (2\pi y x)$ on $[a, b] = [(1 - \sqrt y)^2, (1 + \sqrt y)^2]$, whose median is
    interpolated in y. It is the limit of large matrices: what small ones deviate by is in the simulated nulls.

    References:
        Marchenko & Pastur 1967; as an estimate of the noise level, Gavish & Donoho 2014, arXiv 1305.5870, section III.
    """
    short, long = min(m, n), max(m, n)
    return float(np.sqrt(long) * np.interp(np.sqrt(short / long), *_median_by_aspect()))


def bulk_scale(singular_values: Float[np.ndarray, " k"], m: int, n: int) -> float:
    r"""Read the standard deviation of an entry from the median singular value.

    $$\hat s = \mathrm{median}(\sigma) / \mu_{mn}$$

    with $\mu$ from :func:`marchenko_pastur_median`. Fewer outliers than half of the spectrum do not move it much.

    Args:
        singular_values: of the matrix, in any order; those of lines without a single entry are ignored.
        m: rows which are not zero throughout, one or more.
        n: columns likewise.

    Returns:
        0 where at least half of the singular values are nothing but rounding: noise of low rank has no bulk.
    """
    largest_first = np.sort(singular_values.astype(np.float64))[::-1][: min(m, n)]
    median = float(np.median(largest_first))
    if median <= _NEGLIGIBLE * largest_first[0]:
        return 0.0
    return median / marchenko_pastur_median(m, n)


def tracy_widom_units(m: int, n: int) -> tuple[float, float]:
    r"""Give centre and scale of the largest squared singular value of a standard Gaussian m × n matrix.

    $$\mu = \left(\sqrt{m - \tfrac12} + \sqrt{n - \tfrac12}\right)^2,\qquad
      \sigma = \sqrt\mu \left(\frac{1}{\sqrt{m - \frac12}} + \frac{1}{\sqrt{n - \frac12}}\right)^{1/3}$$

    $(\sigma_1^2 - \mu)/\sigma$ follows the Tracy–Widom law with β = 1 to second order.

    References:
        Johnstone 2001, Annals of Statistics 29(2); Ma 2012, Bernoulli 18(1), for the halves.
    """
    rows, columns = np.sqrt(m - 0.5), np.sqrt(n - 0.5)
    centre = (rows + columns) ** 2
    return float(centre), float(np.sqrt(centre) * np.cbrt(1.0 / rows + 1.0 / columns))


@cache
def _median_by_aspect() -> tuple[Float[np.ndarray, " aspects"], Float[np.ndarray, " aspects"]]:
    r"""Tabulate √(median of the Marchenko–Pastur law) against √y.

    With $x = 1 + y - 2\sqrt y \cos\theta$ the density in θ is proportional to $\sin^2\theta / x$: smooth, with
    nothing to go wrong at the ends.
    """
    roots = np.linspace(0.0, 1.0, _ASPECTS)
    angles = np.linspace(0.0, np.pi, _ANGLES)[1:]
    medians: list[float] = []
    for root in roots:
        values = 1.0 + root**2 - 2.0 * root * np.cos(angles)
        below = cumulative_trapezoid(np.square(np.sin(angles)) / values, angles, initial=0.0)
        middle = np.interp(0.5 * below[-1], below, angles)
        medians.append(float(np.sqrt(1.0 + root**2 - 2.0 * root * np.cos(middle))))
    return roots, np.array(medians)
