"""Which way of measuring a matrix's per-example gradients is cheaper."""

from enum import StrEnum

_ENTRY = 32
"""Writing and reading an entry of a per-example gradient, in multiplications: measured on a CPU."""


class Method(StrEnum):
    """How a parameter's per-example squared norms were obtained."""

    SIMULTANEOUS = "simultaneous"
    GRAM = "gram"
    SEGMENTS = "segments"
    SUMMED = "summed"
    LOOP = "loop"
    UNUSED = "unused"


def choose(tokens: int, rows: int, columns: int) -> Method:
    r"""Choose between forming each example's gradient and two Gram matrices over its tokens.

    Forming the gradient costs $TRC$ multiplications an example and one write and read of $RC$ entries, about as long
    as 32 multiplications each; the Gram matrices cost $T^2(R + C)$ multiplications. Gray et al. choose them when
    $T < \sqrt{RC/(R+C)}$, because there the per-example gradients are added up to the batch's, which is needed anyway;
    here nothing but the norms is, so the products count.

    Args:
        tokens: positions of one example, T.
        rows: of the parameter, R.
        columns: of the parameter, C.

    References:
        G. Gray et al., 2024, "Normalization Layer Per-Example Gradients are Sufficient to Predict Gradient Noise
        Scale in Transformers", section 3, arXiv:2411.00999.
    """
    forming = (tokens + _ENTRY) * rows * columns
    return Method.GRAM if tokens**2 * (rows + columns) < forming else Method.SIMULTANEOUS
