"""Magnitudes in bins that every law and every block of draws shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from gnoise.records import Sketch, Status
from gnoise.stats.plain import plain_values
from gnoise.stats.sketch import bucket_edges, magnitude_edges, merge, sketch_from_values

_PER_OCTAVE_BITS = 4
_BUCKET_BITS = 8
_DROPPED = _BUCKET_BITS - _PER_OCTAVE_BITS
_MAGNITUDES = 1 << 16
_INWARDS, _OUTWARDS = 7 << _PER_OCTAVE_BITS, 40 << _PER_OCTAVE_BITS
_FEWEST_VALUES = 50
_LOUDEST = 10.0
_LARGEST_ATOM = 0.1
_HELD = 2.0**-100, 2.0**100

Values = ArrayLike


@dataclass(frozen=True)
class FoldedBins:
    """Counts of |x|, zeros left out, in sixteen bins an octave.

    They start seven octaves below the median of all blocks and end with the last value, forty octaves above
    the median at most. Edges are ends of the sketch's own buckets, so that counts are exact; a bin is 4–6% wide and
    costs a fit less than a thousandth of its information.

    Attributes:
        log_edges: ascending; the first bin begins at 0 and the last never ends.
        counts: one row a block.
        status: ``OK``, or why there is nothing to fit; then there are no bins.
    """

    log_edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, "blocks edges+1"]
    status: Status

    @cached_property
    def total(self) -> Float[np.ndarray, " bins"]:
        """Values of all blocks in each bin."""
        return self.counts.sum(axis=0, dtype=np.float64)

    @cached_property
    def floor(self) -> Float[np.ndarray, " bins"]:
        """Ten nats below the log share of each bin: less than that no law is charged for a value.

        A law that holds never comes near; one that does not is not decided by its single worst value.
        """
        return np.log(np.maximum(self.total, 1.0) / self.n) - _LOUDEST

    @property
    def n(self) -> int:
        """Values in all bins."""
        return int(self.counts.sum(dtype=np.int64))


def fold(blocks: Sequence[Sketch]) -> FoldedBins:
    """Fold sketches around zero.

    Args:
        blocks: one a block of draws.
    """
    dense = np.array([_folded(sketch) for sketch in blocks], np.int64).reshape(len(blocks), _MAGNITUDES >> _DROPPED)
    cumulative = np.cumsum(dense.sum(axis=0))
    status = _problem(blocks, dense)
    if status is not Status.OK:
        return FoldedBins(np.empty(0), np.zeros((len(blocks), 1), np.int64), status)
    median = int(np.searchsorted(cumulative, 0.5 * cumulative[-1]))
    last = min(int(np.searchsorted(cumulative, cumulative[-1])), median + _OUTWARDS)
    first = max(median - _INWARDS, 1)
    numbers = np.arange(first, last + 1)
    inner = dense[:, :first].sum(axis=1, keepdims=True)
    outer = dense[:, last + 1 :].sum(axis=1, keepdims=True)
    edges, _ = bucket_edges(np.append(numbers, last + 1) << _DROPPED)
    return FoldedBins(np.log(edges), np.concatenate([inner, dense[:, numbers], outer], axis=1), Status.OK)


def fold_values(blocks: Sequence[Values], *, centre: bool) -> FoldedBins:
    """Fold plain values of any scale.

    Args:
        blocks: arrays of any shape; one alone where nothing is known of their dependence.
        centre: take off the median of all first.
    """
    flat = [plain_values(block).reshape(-1) for block in blocks]
    together = np.concatenate([*flat, np.empty(0)])
    if not np.isfinite(together).all():
        return FoldedBins(np.empty(0), np.zeros((len(flat), 1), np.int64), Status.NON_FINITE)
    middle = float(np.median(together)) if centre and together.size else 0.0
    with np.errstate(over="ignore"):
        magnitudes = np.abs(together - middle)
        moving = magnitudes[magnitudes > 0.0]
        unit = float(np.median(moving)) if moving.size else 1.0
        folded = fold([sketch_from_values(_within_float32((block - middle) / unit)) for block in flat])
    return FoldedBins(folded.log_edges + np.log(unit), folded.counts, folded.status)


def _within_float32(values: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
    """Move what float32 cannot hold to where bins have ended, in units of the median."""
    return np.where(values == 0.0, 0.0, np.copysign(np.clip(np.abs(values), *_HELD), values))


def _folded(sketch: Sketch) -> Int[np.ndarray, " coarse"]:
    place = (sketch.buckets & (_MAGNITUDES - 1)) >> _DROPPED
    return np.bincount(place, sketch.counts, _MAGNITUDES >> _DROPPED).astype(np.int64)


def _problem(blocks: Sequence[Sketch], dense: Int[np.ndarray, "blocks bins"]) -> Status:
    if any(sketch.nonfinite for sketch in blocks):
        return Status.NON_FINITE
    if not dense.any():
        return Status.ALL_ZERO if any(sketch.zeros for sketch in blocks) else Status.TOO_FEW_VALUES
    if np.count_nonzero(dense.any(axis=0)) == 1:
        return Status.CONSTANT
    if dense.sum() < _FEWEST_VALUES:
        return Status.TOO_FEW_VALUES
    return Status.FEW_DISTINCT if _has_atom(blocks, _LARGEST_ATOM * int(dense.sum())) else Status.OK


def _has_atom(blocks: Sequence[Sketch], limit: float) -> bool:
    """Whether one bucket of |x| holds more than ``limit``: laws around zero put 1/256 into one, twice that at most."""
    at_most = sum(2 * int(sketch.counts.max(initial=0)) for sketch in blocks)
    return at_most > limit and int(magnitude_edges(merge(blocks))[2].max()) > limit
