"""Arithmetic over lists of tensors: few launches on a GPU, one pass through memory on a CPU."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gnoise.remedies.shards import local, over_processes, total
from gnoise.remedies.transform import book_dtype

_CHUNK = 1 << 19
"""Entries worked on at a time on a CPU: gradient and scratch stay in its cache from one operation to the next."""
_NARROW = (torch.float16, torch.bfloat16)


def batches(*columns: Sequence[Tensor]) -> Iterator[tuple[list[int], tuple[list[Tensor], ...]]]:
    """Cut lists of tensors into batches worth one ``torch._foreach_*`` call an operation.

    On a GPU a batch is everything of one device and dtype. On a CPU, where a call over everything would
    go through memory once per operation, it is a cache-sized part of a tensor, or several small tensors.
    Of tensors spread over processes it is what this process holds; empty tensors never come.

    Args:
        columns: lists whose tensors agree in shape place by place, e.g. gradients and their averages.

    Yields:
        the place each part came from, and the parts of each column: views, to be changed in place.
    """
    here = [local(column) for column in columns]
    grouped: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(here[0]):
        if tensor.numel():
            grouped.setdefault((tensor.device, tensor.dtype), []).append(place)
    for (device, _), places in grouped.items():
        if device.type != "cpu":
            yield places, tuple([column[i] for i in places] for column in here)
        else:
            yield from _cached(places, here)


def _cached(
    places: Sequence[int], columns: Sequence[Sequence[Tensor]]
) -> Iterator[tuple[list[int], tuple[list[Tensor], ...]]]:
    owners: list[int] = []
    parts: tuple[list[Tensor], ...] = tuple([] for _ in columns)
    held = 0
    for place in places:
        for row in zip(*(_split(column[place], columns, place) for column in columns), strict=True):
            if owners and held + row[0].numel() > _CHUNK:
                yield owners, parts
                owners, parts, held = [], tuple([] for _ in columns), 0
            owners.append(place)
            held += row[0].numel()
            for part, piece in zip(parts, row, strict=True):
                part.append(piece)
    if owners:
        yield owners, parts


def _split(tensor: Tensor, columns: Sequence[Sequence[Tensor]], place: int) -> Sequence[Tensor]:
    small = tensor.numel() <= _CHUNK
    if small or not all(column[place].is_contiguous() for column in columns):
        return (tensor,)
    return tensor.view(-1).split(_CHUNK)


def row_blocks(tensor: Tensor) -> Sequence[Tensor]:
    """Cut a plain tensor along its first axis: on a CPU into parts that stay in its cache, else not at all."""
    if tensor.device.type != "cpu" or tensor.ndim == 0 or tensor.numel() <= _CHUNK:
        return (tensor,)
    return tensor.split(max(1, _CHUNK * len(tensor) // tensor.numel()))


def widened(tensors: list[Tensor]) -> list[Tensor]:
    """Return the list itself, or copies in float32 where entries have 16 bits."""
    if not tensors or tensors[0].dtype not in _NARROW:
        return tensors
    wide = [torch.empty_like(x, dtype=torch.float32) for x in tensors]
    torch._foreach_copy_(wide, tensors)
    return wide


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor, over all processes, as one vector on the first one's device.

    Squares are of float32, so that a norm above 1.8e19 comes out infinite on a GPU; on a CPU it is then taken again.
    """
    here = local(tensors)
    sizes = _norms_here(here, 2.0)
    if sizes.device.type == "cpu":
        for place in sizes.isinf().nonzero().flatten().tolist():
            sizes[place] = torch.linalg.vector_norm(here[place], dtype=torch.float64)
    return total(sizes, tensors)


def largest(tensors: Sequence[Tensor]) -> Tensor:
    """Return max |entry| of each tensor, over all processes, as :func:`norms` does; NaN where an entry is."""
    here = local(tensors)
    held = [i for i, x in enumerate(here) if x.numel()]
    device = tensors[0].device
    sizes = torch.zeros(len(here), dtype=book_dtype(device), device=device)
    if held:
        some = [here[i] for i in held]
        on_cpu = all(x.device.type == "cpu" for x in some)
        # torch's infinity norm takes a CPU ten times as long as this.
        peaks = torch.stack([_peak(x) for x in some]) if on_cpu else _norms_here(some, math.inf)
        sizes[held] = peaks.to(sizes)
    return over_processes(sizes, tensors, largest=True)


def _peak(tensor: Tensor) -> Tensor:
    low, high = torch.aminmax(tensor)
    return torch.maximum(high, -low).to(book_dtype(tensor.device))


def _norms_here(tensors: Sequence[Tensor], power: float) -> Tensor:
    """Return norms of plain tensors: one launch for each device and dtype, and few to put them together."""
    device = tensors[0].device
    places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, x in enumerate(tensors):
        places.setdefault((x.device, x.dtype), []).append(place)
    found: list[Tensor] = []
    for (_, dtype), chosen in places.items():
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        each = torch._foreach_norm([tensors[i] for i in chosen], power, dtype=wide)
        found.append(torch.stack(list(each)).to(device, book_dtype(device)))
    if len(found) == 1:
        return found[0]
    sizes = torch.empty(len(tensors), dtype=book_dtype(device), device=device)
    for chosen, some in zip(places.values(), found, strict=True):
        sizes[chosen] = some
    return sizes


def multiply_(tensors: list[Tensor], factors: Tensor) -> list[Tensor]:
    """Multiply tensors in place, each by its own number or all by one.

    On a CPU, where looking costs nothing, tensors whose number is 1 are not touched. On a GPU single numbers cost a
    launch a tensor and no wait; one number for all costs one launch.

    Args:
        tensors: to be overwritten.
        factors: of shape (tensors,) or ().
    """
    here = local(tensors)
    if factors.device.type == "cpu":
        numbers: list[float] = factors.expand(len(here)).tolist()
        for tensor, x in zip(here, numbers, strict=True):
            if x != 1.0:
                tensor.mul_(x)  # torch._foreach_mul_ would round the number to float16 first, to infinity even
        return tensors
    kinds = {(x.device, x.dtype) for x in here}
    if factors.ndim == 0 and len(kinds) == 1:
        torch._foreach_mul_(here, factors.to(*kinds.pop()) if here[0].dtype not in _NARROW else factors.float())
        return tensors
    single = factors.expand(len(here)).unbind()
    torch._foreach_mul_(here, [x.to(tensor.device) for x, tensor in zip(single, here, strict=True)])
    return tensors
