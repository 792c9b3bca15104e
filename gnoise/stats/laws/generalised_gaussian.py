"""Generalised Gaussian (exponential power): density falls as exp(−x^power)."""

import numpy as np
from jaxtyping import Float
from scipy.special import gammaincc, gammaln

from gnoise.stats.laws.law import Law, in_log

_FAR = 200.0
_TERMS = 6


def log_survival(x: Float[np.ndarray, " points"], power: float) -> Float[np.ndarray, " points"]:
    r"""Compute log P(|X| > x) of the density proportional to $e^{-|x|^p}$.

    $$P(|X| > x) = Q(1/p, x^p), \quad
      Q(a, q) \sim \frac{q^{a-1} e^{-q}}{\Gamma(a)} \sum_k \frac{(a-1) \cdots (a-k)}{q^k}$$

    the latter for $q > 200$. A Gaussian of standard deviation 1 has power 2 and scale $\sqrt2$.

    Args:
        x: positive, ascending.
        power: p.

    References:
        Subbotin 1923; DLMF 8.11.2.
    """
    a, q = 1.0 / power, x**power
    log = np.log(gammaincc(a, np.minimum(q, _FAR)))
    far = q > _FAR
    factors = (a - np.arange(1, _TERMS)[:, None]) / q[far]
    series = 1.0 + np.cumprod(factors, axis=0).sum(axis=0)
    log[far] = (a - 1.0) * np.log(q[far]) - q[far] - gammaln(a) + np.log(series)
    return log


LAW = Law(
    "generalised_gaussian",
    "generalised Gaussian",
    log_survival,
    shapes=(in_log("power", 0.2, 10.0, 32),),
    special_cases=("gaussian", "laplace"),
)
