"""Counting float32 bits, in torch: the collecting side of :class:`gnoise.records.Sketch`."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from gnoise.kernels import sketch
from gnoise.records import Sketch

_SHIFT = 15
_BUCKETS = 1 << 17
_HALF = _BUCKETS >> 1
_OCTAVE = 256
"""Buckets of one sign and exponent."""
_EXPONENTS = 256
_FEW = 1 << 12
"""Values; for fewer, going through all 131,072 buckets takes longer than sorting them by octave."""
_MANY = 1 << 20
"""Values on a GPU; for fewer, a kernel's launch and its copies of the buckets take longer than torch's own passes."""
_PLUS_ZERO, _MINUS_ZERO = 0, torch.iinfo(torch.int32).min


@dataclass(frozen=True)
class Counted:
    """One tensor's values by bucket, octave by octave: few of the 512 occur.

    Attributes:
        octaves: which occur, ascending: the exponent, and 256 more where negative.
        counts: of their buckets, exact zeros left out.
        zeros: exact zeros.
    """

    octaves: Int[np.ndarray, " octaves"]
    counts: Int[np.ndarray, "octaves 256"]
    zeros: int


class SketchCounter:
    """Adds tensors into float-bit buckets; holds the octaves that occur, however many values come.

    ``bits >> 15`` keeps the sign, the exponent and eight mantissa bits. It needs no scale, adds
    exactly, and every likelihood or quantile can be read from it later.
    """

    def __init__(self) -> None:
        self._counts: dict[int, Int[np.ndarray, " 256"]] = {}
        self._zeros = 0

    def add(self, values: Float32[Tensor, "..."]) -> Counted:
        """Count a tensor's values; return the counts of this tensor alone."""
        counted = count(values)
        for octave, counts in zip(counted.octaves.tolist(), counted.counts, strict=True):
            before = self._counts.get(octave)
            self._counts[octave] = counts if before is None else before + counts
        self._zeros += counted.zeros
        return counted

    def take(self) -> Sketch:
        """Return what was counted since the last time, and start again from nothing."""
        counts_of, zeros = self._counts, self._zeros
        self._counts, self._zeros = {}, 0
        finite = sorted(octave for octave in counts_of if octave % _EXPONENTS != _EXPONENTS - 1)
        counts = np.concatenate([counts_of[octave] for octave in finite] or [np.zeros(0, dtype=np.int64)])
        buckets = (np.array(finite, dtype=np.int32)[:, None] * _OCTAVE + np.arange(_OCTAVE, dtype=np.int32)).ravel()
        occupied = counts > 0
        lost = sum(int(x.sum()) for x in counts_of.values()) - int(counts.sum())
        return Sketch(buckets=buckets[occupied], counts=counts[occupied], zeros=zeros, nonfinite=lost)


def count(values: Float32[Tensor, "..."]) -> Counted:
    """Count a tensor's values by the leading 17 bits of their float32 pattern."""
    if values.device.type != "cpu" and values.numel() >= _MANY:
        return count_on_device(values)
    bits = values.detach().reshape(-1).view(torch.int32)
    buckets = torch.bitwise_right_shift(bits, _SHIFT).bitwise_and_(_BUCKETS - 1)
    octaves, by_octave = (
        _sparse(buckets) if buckets.numel() < _FEW else _octaves(torch.bincount(buckets, minlength=_BUCKETS))
    )
    zeros = 0
    for octave, pattern in ((0, _PLUS_ZERO), (_EXPONENTS, _MINUS_ZERO)):
        row = np.flatnonzero(octaves == octave)
        if row.size and by_octave[row[0], 0]:  # exact zeros share their bucket with the smallest denormals
            found = int((bits == pattern).sum())
            by_octave[row[0], 0] -= found
            zeros += found
    occurs = by_octave.any(1)
    return Counted(octaves[occurs], by_octave[occurs], zeros)


def count_on_device(values: Float32[Tensor, "..."]) -> Counted:
    """Count in one pass over the values, where they are."""
    (counts, zeros), _ = sketch(values)
    return Counted(*_octaves(counts), int(zeros))


def _octaves(counts: Int[Tensor, " buckets"]) -> tuple[Int[np.ndarray, " octaves"], Int[np.ndarray, "octaves 256"]]:
    """Keep the octaves that occur: thirty times faster than looking for single buckets, and few to fetch."""
    by_octave = counts.view(-1, _OCTAVE)
    octaves = by_octave.any(1).nonzero().squeeze(1)
    return octaves.numpy(force=True), by_octave[octaves].numpy(force=True)


def _sparse(buckets: Int[Tensor, " values"]) -> tuple[Int[np.ndarray, " octaves"], Int[np.ndarray, "octaves 256"]]:
    """Count the buckets of those octaves alone that a few values fall into."""
    found = buckets.numpy(force=True)
    octaves, row = np.unique(found >> 8, return_inverse=True)
    counts = np.bincount(row * _OCTAVE + (found & (_OCTAVE - 1)), minlength=len(octaves) * _OCTAVE)
    return octaves.astype(np.int64), counts.reshape(-1, _OCTAVE)


def median_magnitude(counted: Counted) -> float:
    """Read the median |x| of a tensor's non-zero values off its counts, to 2⁻⁹ relative."""
    exponents = counted.octaves % _EXPONENTS
    below = np.bincount(exponents, weights=counted.counts.sum(1), minlength=_EXPONENTS).cumsum()
    if below[-1] <= 0:
        return 0.0
    half = 0.5 * below[-1]
    exponent = int(np.searchsorted(below, half))
    within = counted.counts[exponents == exponent].sum(0)
    start = below[exponent] - within.sum()
    bucket = exponent * _OCTAVE + int(np.searchsorted(start + within.cumsum(), half))
    edges = np.array([bucket, bucket + 1], dtype=np.int32) << _SHIFT
    return float(edges.view(np.float32).astype(np.float64).mean())
