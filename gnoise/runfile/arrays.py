"""Samples to named arrays and back: what stands in the ``array`` table."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnoise.records import (
    CoordinateSample,
    DrawSample,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    Sketch,
    SketchSample,
)

Array = np.ndarray[Any, np.dtype[Any]]
Blocks = Mapping[str, Sequence[Array]]
"""Array name to its pieces, one a block, in order."""

_MATRIX_SERIES = (
    "spectral",
    "nuclear",
    "max_entry",
    "frobenius_sq",
    "l1",
    "sum_fourth",
    "ipr_left",
    "ipr_right",
    "row_energy",
    "column_energy",
    "winsorised_fourth",
    "bulk_scale",
    "coherent_fourth",
    "permuted_ratio",
    "max_position",
)
_WORTH_COMPRESSING = 512
"""Bytes."""
ONCE = frozenset({"coordinates.index", "coordinates.second_moment", "matrix.shape"})
"""Arrays that are the same in every block, written in block 0."""


@dataclass(frozen=True)
class Packed:
    """An array as stored."""

    dtype: str
    shape: tuple[int, ...]
    codec: str
    data: bytes


def pack(array: Array) -> Packed:
    """Encode an array as little-endian bytes, compressed where that may save space."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    raw = little.tobytes()
    codec, data = ("zlib", zlib.compress(raw, level=1)) if _compressible(array) else ("raw", raw)
    return Packed(little.dtype.str, tuple(array.shape), codec, data)


def _compressible(array: Array) -> bool:
    """Whether compressing is worth its time: not where there is little, nor on floats, unless most are zero."""
    if array.nbytes < _WORTH_COMPRESSING:
        return False
    return array.dtype.kind != "f" or 2 * int(np.count_nonzero(array)) < array.size


def unpack(packed: Packed) -> Array:
    """Decode what :func:`pack` made.

    Raises:
        ValueError: the bytes do not fit dtype and shape.
    """
    raw = zlib.decompress(packed.data) if packed.codec == "zlib" else packed.data
    return np.frombuffer(raw, dtype=np.dtype(packed.dtype)).reshape(packed.shape)


def flatten_draws(sample: DrawSample) -> dict[str, Array]:
    """Name the arrays of one block of :class:`DrawSample`."""
    return {
        "draws.example_ids": sample.example_ids,
        "draws.example_losses": sample.example_losses,
        "draws.example_weights": sample.example_weights,
        "draws.skipped": np.array([sample.skipped], dtype=np.int64),
    }


def assemble_draws(blocks: Blocks) -> DrawSample:
    """Join what :func:`flatten_draws` named, over blocks."""
    return DrawSample(
        example_ids=_join(blocks, "draws.example_ids", np.int64, 2),
        example_losses=_join(blocks, "draws.example_losses", np.float64, 2),
        example_weights=_join(blocks, "draws.example_weights", np.float64, 2),
        skipped=int(_join(blocks, "draws.skipped", np.int64, 1).sum()),
    )


def flatten_layer(samples: LayerSamples) -> dict[str, Array]:
    """Name the arrays of one block of one layer's samples.

    What can be derived is not stored: example weights stand with the draws, and the norms in
    :class:`CoordinateSample` are those of :class:`NormSample`.
    """
    named: dict[str, Array] = {
        "norms.example_sq_norms": samples.norms.example_sq_norms,
        "norms.draw_sq_norms": samples.norms.draw_sq_norms,
        "norms.block_sq_norms": samples.norms.block_sq_norms,
        "coordinates.index": samples.coordinates.index,
        "coordinates.values": samples.coordinates.values,
        "sketch.scale_pairs": np.array([samples.sketch.scale_pairs], dtype=np.int64),
    }
    if samples.coordinates.second_moment is not None:
        named["coordinates.second_moment"] = samples.coordinates.second_moment
    for view in ("entries", "draws"):
        for sketch in getattr(samples.sketch, view):
            named |= _flatten_sketch(f"sketch.{view}", sketch)
    if samples.matrix is not None:
        named["matrix.shape"] = np.array([samples.matrix.rows, samples.matrix.columns], dtype=np.int64)
        for name in _MATRIX_SERIES:
            series = getattr(samples.matrix, name)
            if series is not None:
                named[f"matrix.{name}"] = series
    return named | ({} if samples.progress is None else _flatten_progress(samples.progress))


def assemble_layer(blocks: Blocks, *, draws: DrawSample, model_draw_sq_norms: Array) -> LayerSamples:
    """Join what :func:`flatten_layer` named, over blocks."""
    norms = assemble_norms(blocks, draws=draws)
    return LayerSamples(
        norms=norms,
        sketch=assemble_sketch(blocks),
        coordinates=CoordinateSample(
            index=_join(blocks, "coordinates.index", np.int64, 1),
            values=assemble_values(blocks),
            draw_sq_norms=norms.draw_sq_norms,
            model_sq_norms=model_draw_sq_norms,
            second_moment=_once(blocks, "coordinates.second_moment"),
        ),
        matrix=assemble_matrix(blocks),
        progress=_assemble_progress(blocks),
    )


def assemble_norms(blocks: Blocks, *, draws: DrawSample) -> NormSample:
    """Join a layer's norms alone, over blocks."""
    return NormSample(
        example_sq_norms=_join(blocks, "norms.example_sq_norms", np.float64, 2),
        draw_sq_norms=_join(blocks, "norms.draw_sq_norms", np.float64, 1),
        block_sq_norms=_join(blocks, "norms.block_sq_norms", np.float64, 1),
        example_weights=draws.example_weights,
    )


def assemble_sketch(blocks: Blocks) -> SketchSample:
    """Join a layer's sketches alone, over blocks."""
    return SketchSample(
        entries=_sketches(blocks, "sketch.entries"),
        draws=_sketches(blocks, "sketch.draws"),
        scale_pairs=int(_join(blocks, "sketch.scale_pairs", np.int64, 1).max(initial=0)),
    )


def assemble_values(blocks: Blocks) -> Array:
    """Join the values of a layer's coordinates alone, draws × coords, over blocks."""
    return _join(blocks, "coordinates.values", np.float32, 2)


def assemble_matrix(blocks: Blocks) -> MatrixSample | None:
    """Join a layer's noise matrices alone, over blocks; ``None`` for a vector."""
    if "matrix.shape" not in blocks:
        return None
    rows, columns = (int(side) for side in blocks["matrix.shape"][0])
    series = {name: _joined(blocks, f"matrix.{name}") for name in _MATRIX_SERIES}
    return MatrixSample(rows=rows, columns=columns, **series)  # pyright: ignore[reportArgumentType]


def _flatten_progress(progress: ProgressSample) -> dict[str, Array]:
    named: dict[str, Array] = {
        "progress.arms": np.frombuffer("\n".join(progress.arms).encode(), dtype=np.uint8),
        "progress.along": progress.along,
        "progress.scale": np.array([progress.scale]),
        "progress.median_norm": np.array([progress.median_norm]),
    }
    if progress.noise_nuclear is not None:
        named["progress.noise_nuclear"] = progress.noise_nuclear
    if progress.along_mean is not None:
        named["progress.along_mean"] = progress.along_mean
    if progress.mean_nuclear is not None:
        named["progress.mean_nuclear"] = np.array([progress.mean_nuclear])
    return named


def _assemble_progress(blocks: Blocks) -> ProgressSample | None:
    if "progress.arms" not in blocks:
        return None
    # Single numbers are known best in the last block: the gradient's first half is over by then.
    return ProgressSample(
        arms=tuple(blocks["progress.arms"][0].tobytes().decode().split("\n")),
        along=np.concatenate(blocks["progress.along"]),
        scale=float(blocks["progress.scale"][-1][0]),
        median_norm=float(blocks["progress.median_norm"][-1][0]),
        noise_nuclear=_joined(blocks, "progress.noise_nuclear"),
        along_mean=_joined(blocks, "progress.along_mean"),
        mean_nuclear=float(blocks["progress.mean_nuclear"][-1][0]) if "progress.mean_nuclear" in blocks else None,
    )


def _flatten_sketch(prefix: str, sketch: Sketch) -> dict[str, Array]:
    return {
        f"{prefix}.buckets": sketch.buckets,
        f"{prefix}.counts": sketch.counts,
        f"{prefix}.zeros": np.array([sketch.zeros], dtype=np.int64),
        f"{prefix}.nonfinite": np.array([sketch.nonfinite], dtype=np.int64),
    }


def _sketches(blocks: Blocks, prefix: str) -> tuple[Sketch, ...]:
    if f"{prefix}.buckets" not in blocks:
        return ()
    parts = (blocks[f"{prefix}.{field}"] for field in ("buckets", "counts", "zeros", "nonfinite"))
    return tuple(
        Sketch(buckets=buckets, counts=counts, zeros=int(zeros[0]), nonfinite=int(nonfinite[0]))
        for buckets, counts, zeros, nonfinite in zip(*parts, strict=True)
    )


def _once(blocks: Blocks, name: str) -> Array | None:
    return blocks[name][0] if name in blocks else None


def _joined(blocks: Blocks, name: str) -> Array | None:
    return np.concatenate(blocks[name]) if name in blocks else None


def _join(blocks: Blocks, name: str, dtype: type[np.generic], axes: int) -> Array:
    pieces = blocks.get(name)
    if not pieces:
        return np.empty((0,) * axes, dtype=dtype)
    return np.concatenate(pieces)
