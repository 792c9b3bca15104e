"""Contaminated Gaussian: a share of the values is wider by a ratio."""

import numpy as np
from jaxtyping import Float

from gnoise.stats.laws import gaussian
from gnoise.stats.laws.law import Law, in_log, in_logit


def log_survival(x: Float[np.ndarray, " points"], share: float, ratio: float) -> Float[np.ndarray, " points"]:
    r"""Compute log P(|X| > x) of $(1 - \varepsilon) N(0, 1) + \varepsilon N(0, k^2)$.

    Args:
        x: positive, ascending.
        share: ε.
        ratio: k.

    References:
        Tukey 1960, *A survey of sampling from contaminated distributions*.
    """
    narrow = np.log1p(-share) + gaussian.log_survival(x)
    return np.logaddexp(narrow, np.log(share) + gaussian.log_survival(x / ratio))


LAW = Law(
    "contaminated",
    "contaminated Gaussian",
    log_survival,
    shapes=(in_logit("share", 1e-5, 0.5, 24), in_log("ratio", 1.25, 1000.0, 28)),
    special_cases=("gaussian",),
)
