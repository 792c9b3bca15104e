"""Cauchy: scale is the quartile."""

import numpy as np
from jaxtyping import Float

from gnoise.stats.laws.law import Law


def log_survival(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Compute log P(|X| > x) = log(2/π · arctan 1/x).

    Args:
        x: positive, ascending.
    """
    return np.log(2.0 / np.pi * np.arctan2(1.0, x))


LAW = Law("cauchy", "Cauchy", log_survival)
