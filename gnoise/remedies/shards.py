"""Gradients spread over processes (FSDP2): what this process holds of each, and sums over all processes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gnoise.remedies.positions import positions

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

_PLAIN = (Tensor, nn.Parameter)


def as_dtensor(tensor: Tensor) -> "DTensor | None":
    """Return a tensor that is spread over processes as one, ``None`` for any other.

    ``torch.distributed.tensor`` takes as long to import as a good part of torch: a run without it never does.
    """
    if type(tensor) in _PLAIN:
        return None
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


def local(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what this process holds of each tensor, to be changed in place; plain tensors as they are."""
    spread = [as_dtensor(x) for x in tensors]
    return [x if whole is None else whole.to_local() for x, whole in zip(tensors, spread, strict=True)]


def over_processes(values: Tensor, tensors: Sequence[Tensor], *, largest: bool = False, rows: bool = False) -> Tensor:
    """Add up, or take the largest of, numbers that each process took from its own part of some tensors.

    The norm of a local part is not the tensor's norm. Where a tensor is replicated, or plain, its numbers stay what
    they are. One collective a device mesh, whatever the number of tensors.

    Args:
        values: (…, tensors).
        tensors: gradients or parameters, in the order of the last axis; in one order on every process.
        largest: take the maximum instead of the sum.
        rows: the numbers are of single rows, which tensors sharded along their rows hold whole.
    """
    places: dict[tuple[DeviceMesh, int], list[int]] = {}
    for place, whole in enumerate(as_dtensor(x) for x in tensors):
        if whole is not None:
            for axis, placement in enumerate(whole.placements):
                whole_rows = rows and whole.ndim > 1 and placement.is_shard(0)
                if not placement.is_replicate() and not whole_rows:
                    places.setdefault((whole.device_mesh, axis), []).append(place)
    if places:
        values = values.clone()
    for (mesh, axis), chosen in places.items():
        index = positions(chosen, values.device)
        part = values.index_select(-1, index)
        dist.all_reduce(part, dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=mesh.get_group(axis))
        values.index_copy_(-1, index, part)
    return values


def total(norms: Tensor, tensors: Sequence[Tensor], *, rows: bool = False) -> Tensor:
    """Return norms of whole tensors from those of local parts; bit for bit the same where nothing is spread.

    Args:
        norms: (…, tensors) Euclidean norms of what this process holds.
        tensors: as in :func:`over_processes`.
        rows: as in :func:`over_processes`.
    """
    if all(as_dtensor(x) is None for x in tensors):
        return norms
    return torch.sqrt(over_processes(norms.square(), tensors, rows=rows))
