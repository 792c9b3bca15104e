"""Which way of measuring a matrix's per-example gradients is cheaper."""

from enum import StrEnum

_ENTRY = 16
"""Squaring and summing an entry of a per-example gradient, in multiplications: measured on a CPU."""
_ADDED = 16
"""Adding it to the batch's gradient, likewise."""


class Method(StrEnum):
    """How a parameter's per-example squared norms were obtained."""

    SIMULTANEOUS = "simultaneous"
    GRAM = "gram"
    SEGMENTS = "segments"
    SUMMED = "summed"
    LOOP = "loop"
    UNUSED = "unused"


def choose(tokens: int, rows: int, columns: int, *, summed: bool = False) -> Method:
    r"""Choose between forming each example's gradient and two Gram matrices over its tokens.

    Forming the gradient costs $TRC$ multiplications an example and a pass over its $RC$ entries, about as long as 16
    multiplications each; the Gram matrices cost $T^2(R + C)$ multiplications. Where the batch's gradient is wanted as
    well, the gradients formed are added up in a second such pass, while Gram matrices leave all of its $TRC$
    multiplications to do. Gray et al. take Gram matrices when $T < \sqrt{RC/(R+C)}$.

    Args:
        tokens: positions of one example, T.
        rows: of the parameter, R.
        columns: of the parameter, C.
        summed: whether the batch's gradient is wanted as well.

    References:
        G. Gray et al., 2024, "Normalization Layer Per-Example Gradients are Sufficient to Predict Gradient Noise
        Scale in Transformers", section 3, arXiv:2411.00999.
    """
    forming = _ENTRY + _ADDED if summed else _ENTRY + tokens
    return Method.GRAM if tokens**2 * (rows + columns) < forming * rows * columns else Method.SIMULTANEOUS
