"""Batches of any make as what they all are: tensors with their examples along dimension 0."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gnoise.data.data import Batch


def as_batch(item: object) -> Batch | None:
    """Take what a loader yielded as a batch: lists become tuples; ``None`` where it is none.

    Every part must be a tensor, with one and the same positive number of examples along dimension 0.
    """
    batch = _tensors_only(item)
    sizes = set() if batch is None else {len(part) if part.ndim else 0 for part in tensors(batch)}
    return batch if len(sizes) == 1 and 0 not in sizes else None


def tensors(batch: Batch) -> list[Tensor]:
    """List a batch's tensors in order."""
    if isinstance(batch, Tensor):
        return [batch]
    return list(batch.values() if isinstance(batch, dict) else batch)


def examples_in(batch: Batch) -> int:
    """Count the examples."""
    return len(tensors(batch)[0])


def layout(batch: Batch) -> tuple[object, ...]:
    """Everything two batches must agree on to be joined: names, shapes after dimension 0, dtypes."""
    names = tuple(batch) if isinstance(batch, dict) else type(batch)
    return names, *((part.shape[1:], part.dtype) for part in tensors(batch))


def join(batches: Sequence[Batch]) -> Batch:
    """Put batches of one layout one after the other."""
    return batches[0] if len(batches) == 1 else _combine(torch.cat, batches)


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """Take the examples from start to stop."""
    return _combine(lambda parts: parts[0][start:stop], [batch])


def describe(item: object) -> str:
    """Say what something is, tensors with dtype and shape."""
    if isinstance(item, Tensor):
        return f"{str(item.dtype).removeprefix('torch.')} {tuple(item.shape)}"
    if isinstance(item, Mapping):
        return "dict of " + ", ".join(f"{key}: {describe(part)}" for key, part in item.items())
    if isinstance(item, (tuple, list)):
        return f"{type(item).__name__} of " + ", ".join(describe(part) for part in item)
    return type(item).__name__


def _tensors_only(item: object) -> Batch | None:
    if isinstance(item, Tensor):
        return item
    if isinstance(item, Mapping):
        named = {str(key): part for key, part in item.items() if isinstance(part, Tensor)}
        return named if named and len(named) == len(item) else None
    if isinstance(item, (tuple, list)):
        parts = tuple(part for part in item if isinstance(part, Tensor))
        return parts if parts and len(parts) == len(item) else None
    return None


def _combine(function: Callable[[list[Tensor]], Tensor], batches: Sequence[Batch]) -> Batch:
    combined = [function(list(parts)) for parts in zip(*map(tensors, batches), strict=True)]
    first = batches[0]
    if isinstance(first, Tensor):
        return combined[0]
    return dict(zip(first, combined, strict=True)) if isinstance(first, dict) else tuple(combined)
