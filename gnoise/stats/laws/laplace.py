"""Laplace: scale is the mean magnitude."""

import numpy as np
from jaxtyping import Float

from gnoise.stats.laws.law import Law


def log_survival(x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Compute log P(|X| > x) = −x.

    Args:
        x: positive, ascending.
    """
    return -x


LAW = Law("laplace", "Laplace", log_survival)
