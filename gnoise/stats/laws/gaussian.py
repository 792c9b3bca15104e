"""Gaussian: scale is the standard deviation."""

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr

from gnoise.stats.laws.law import Law


def log_survival(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Compute log P(|X| > x) = log 2Φ(−x).

    Args:
        x: positive, ascending.
    """
    return np.log(2.0) + log_ndtr(-x)


LAW = Law("gaussian", "Gaussian", log_survival)
