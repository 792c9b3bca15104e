"""Voigt: a Gaussian plus a Cauchy variable."""

import numpy as np
from jaxtyping import Float
from scipy.special import wofz

from gnoise.stats.laws.law import Law, in_logit

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_STEP = 0.06


def log_survival(x: Float[np.ndarray, " points"], cauchy_part: float) -> Float[np.ndarray, " points"]:
    r"""Compute log P(|X| > x) of $N(0, s^2)$ plus Cauchy($\gamma$), with $s + \gamma = 1$.

    The density $\mathrm{Re}\,w(z) / (s\sqrt{2\pi})$, $z = (x + i\gamma)/(s\sqrt2)$, is added up from the
    tail inwards, by Gauss's rule in $\log x$; beyond the last point it is the Cauchy law's.

    Args:
        x: positive, ascending, the last so far out that only the Cauchy variable gets there.
        cauchy_part: γ, which is γ/(s + γ); s is the rest.

    References:
        Faddeeva function w: DLMF 7.2.3 and 7.19 (Voigt functions).
    """
    s, gamma = 1.0 - cauchy_part, cauchy_part
    pieces = int(np.ceil(np.max(np.diff(np.log(x)), initial=_STEP) / _STEP))
    edges = _refined(np.log(x), pieces)
    half = 0.5 * np.diff(edges)[:, None]
    y = edges[:-1, None] + half * (1.0 + _NODES)
    density = wofz((np.exp(y) + 1j * gamma) / (s * np.sqrt(2.0))).real / (s * np.sqrt(2.0 * np.pi))
    mass = 2.0 * ((density * np.exp(y)) @ _WEIGHTS * half[:, 0]).reshape(-1, pieces).sum(axis=1)
    beyond = 2.0 / np.pi * np.arctan2(gamma, x[-1])
    return np.log(np.append(np.cumsum(mass[::-1])[::-1] + beyond, beyond))


def _refined(log_x: Float[np.ndarray, " points"], pieces: int) -> Float[np.ndarray, " edges"]:
    """Split every interval into equal pieces."""
    return np.interp(np.arange((log_x.size - 1) * pieces + 1) / pieces, np.arange(log_x.size), log_x)


LAW = Law(
    "voigt",
    "Gaussian plus Cauchy (Voigt)",
    log_survival,
    shapes=(in_logit("cauchy_part", 1e-5, 0.97, 72),),
    special_cases=("gaussian", "cauchy"),
)
