"""Which way of measuring a matrix's per-example gradients is cheaper."""

import math
from collections.abc import Sequence
from enum import StrEnum

_ENTRY = 8
"""Squaring and summing an entry of a per-example gradient, in multiplications: between what two CPUs take."""
_ADDED = 16
"""Adding it to the batch's gradient, likewise."""


_AT_ONCE = 3 << 20
"""Entries of the largest layer's output to compute at once: 12 MiB in float32, which an allocator uses again and
without leaving holes; memory for larger ones it fetches anew from the system, and a fifth of a pass goes into that."""
_FEWEST = 4
"""Examples; below, one pass per example costs less than Python does around passes over a few."""
_LONG = 128
"""Positions from which a single example keeps a CPU as busy as a batch does."""


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

    Forming the gradient costs $TRC$ multiplications an example and a pass over its $RC$ entries, about as long as 8
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


def examples_at_once(largest: Sequence[int]) -> int:
    """Choose how many examples one pass on a CPU shall hold.

    Args:
        largest: shape of the largest output of a layer, for one example.
    """
    return max(_FEWEST, _AT_ONCE // max(1, math.prod(largest)))


def prefers_loop(largest: Sequence[int]) -> bool:
    """Say whether one pass per example beats measuring in passes over several, on a CPU.

    So it is where few examples make large activations, and each of them has many positions: the loop has the gradient
    of every example for its norm and computes nothing else.

    Args:
        largest: shape of the largest output of a layer, for one example; its longest side is taken for the features.
    """
    entries = math.prod(largest)
    return _FEWEST * entries > _AT_ONCE and entries >= _LONG * max(largest, default=1)
