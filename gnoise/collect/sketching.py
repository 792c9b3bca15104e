"""Counting float32 bits, in torch: the collecting side of :class:`gnoise.records.Sketch`."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from gnoise.records import Sketch

_SHIFT = 15
_BUCKETS = 1 << 17
_HALF = _BUCKETS >> 1
_EXPONENT_OF_NONFINITE = 0xFF00
_PLUS_ZERO, _MINUS_ZERO = 0, torch.iinfo(torch.int32).min


class SketchCounter:
    """Adds tensors into float-bit buckets; one memory of 2¹⁷ counts however many values come.

    ``bits >> 15`` keeps the sign, the exponent and eight mantissa bits. It needs no scale, adds
    exactly, and every quantile or likelihood can be read from it later.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, dtype=np.int64)
        self._zeros = np.zeros(2, dtype=np.int64)

    def add(self, values: Float32[Tensor, "..."]) -> np.ndarray:
        """Count a tensor's values; return the counts of this tensor alone."""
        bits = values.detach().reshape(-1).view(torch.int32)
        counts = torch.bincount(
            torch.bitwise_right_shift(bits, _SHIFT).bitwise_and_(_BUCKETS - 1), minlength=_BUCKETS
        ).numpy(force=True)
        self._counts += counts
        self._zeros += [int((bits == zero).sum()) for zero in (_PLUS_ZERO, _MINUS_ZERO)]
        return counts

    def take(self) -> Sketch:
        """Return what was counted since the last time, and start again from nothing."""
        counts, zeros = self._counts, self._zeros
        self._counts, self._zeros = np.zeros(_BUCKETS, dtype=np.int64), np.zeros(2, dtype=np.int64)
        counts[[0, _HALF]] -= zeros  # exact zeros share their two buckets with the smallest denormals
        nonfinite = (np.arange(_BUCKETS) & _EXPONENT_OF_NONFINITE) == _EXPONENT_OF_NONFINITE
        lost = int(counts[nonfinite].sum())
        counts[nonfinite] = 0
        buckets = np.flatnonzero(counts)
        return Sketch(buckets=buckets.astype(np.int32), counts=counts[buckets], zeros=int(zeros.sum()), nonfinite=lost)


def median_magnitude(counts: np.ndarray, zeros: int) -> float:
    """Read the median |x| of the non-zero values off float-bit counts, to 2⁻⁹ relative.

    Args:
        counts: of one tensor, as :meth:`SketchCounter.add` returns them; exact zeros included.
        zeros: how many of them were exact zeros.
    """
    magnitudes = counts[:_HALF] + counts[_HALF:]
    cumulative = np.cumsum(magnitudes) - zeros
    if cumulative[-1] <= 0:
        return 0.0
    bucket = int(np.searchsorted(cumulative, 0.5 * cumulative[-1]))
    edges = np.array([bucket, bucket + 1], dtype=np.int32) << _SHIFT
    return float(edges.view(np.float32).astype(np.float64).mean())
