"""Student's t: a Gaussian whose precision varies; tails of index nu."""

import numpy as np
from jaxtyping import Float
from scipy.special import betainc, betaln, hyp2f1

from gnoise.stats.laws.law import Law, in_log

_UNDERFLOW = 1e-200


def log_survival(x: Float[np.ndarray, " points"], nu: float) -> Float[np.ndarray, " points"]:
    r"""Compute log P(|X| > x) of Student's t.

    $$P(|X| > x) = I_z\left(\tfrac\nu2, \tfrac12\right), \quad z = \frac{\nu}{\nu + x^2},$$

    with $I_z(a, b) = z^a (1-z)^b \, {}_2F_1(a+b, 1; a+1; z) / (a B(a, b))$ where it would underflow.

    Args:
        x: positive, ascending.
        nu: degrees of freedom.

    References:
        DLMF 8.17.8.
    """
    a, b = 0.5 * nu, 0.5
    z = nu / (nu + np.square(x))
    inner = 1.0 - betainc(b, a, np.square(x) / (nu + np.square(x)))
    survival = np.where(z > 0.9, inner, betainc(a, b, z))
    log = np.log(np.maximum(survival, _UNDERFLOW))
    far = survival <= _UNDERFLOW
    series = hyp2f1(a + b, 1.0, a + 1.0, z[far])
    log[far] = a * np.log(z[far]) + b * np.log1p(-z[far]) - np.log(a) - betaln(a, b) + np.log(series)
    return log


LAW = Law(
    "student_t",
    "Student t",
    log_survival,
    shapes=(in_log("nu", 0.5, 300.0, 40),),
    special_cases=("gaussian", "cauchy"),
)
