"""Arithmetic over lists of tensors: few launches on a GPU, one pass through memory on a CPU."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gnoise.remedies.positions import positions, repeated
from gnoise.remedies.shards import local, over_processes, total
from gnoise.remedies.transform import book_dtype

_CHUNK = 1 << 19
"""Entries worked on at a time on a CPU: gradient and scratch stay in its cache from one operation to the next."""
_SMALL = 1 << 14
"""Entries up to which a tensor costs a GPU less to copy twice than to launch something for it alone."""
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
    for (device, _), found in alike(here[0]).items():
        places = [i for i in found if here[0][i].numel()]
        if device.type == "cpu":
            yield from _cached(places, here)
        elif places:
            yield places, tuple([column[i] for i in places] for column in here)


def alike(tensors: Sequence[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[int]]:
    """Return places of plain tensors by their device and dtype."""
    places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, x in enumerate(tensors):
        places.setdefault((x.device, x.dtype), []).append(place)
    return places


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
        sizes.index_copy_(0, positions(held, device), peaks.to(sizes))
    return over_processes(sizes, tensors, largest=True)


def usable(sizes: Tensor) -> Tensor:
    """Say which norms are neither zero nor infinite nor NaN, in three launches."""
    return (sizes > 0.0) & (sizes < math.inf)


def _peak(tensor: Tensor) -> Tensor:
    low, high = torch.aminmax(tensor)
    return torch.maximum(high, -low).to(book_dtype(tensor.device))


def _norms_here(tensors: Sequence[Tensor], power: float) -> Tensor:
    """Return norms of plain tensors: one launch for each device and dtype, and few to put them together."""
    device = tensors[0].device
    found: list[Tensor] = []
    places = alike(tensors)
    for (_, dtype), chosen in places.items():
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        each = torch._foreach_norm([tensors[i] for i in chosen], power, dtype=wide)
        found.append(torch.stack(list(each)).to(device, book_dtype(device)))
    if len(found) == 1:
        return found[0]
    order = [i for chosen in places.values() for i in chosen]
    return torch.empty_like(torch.cat(found)).index_copy_(0, positions(order, device), torch.cat(found))


def beside(
    tensors: Sequence[Tensor], *columns: Tensor, rows: bool = False
) -> Iterator[tuple[list[Tensor], tuple[list[Tensor], ...]]]:
    """Lay tensors beside numbers of theirs that only a GPU knows, for an operation over both without a wait.

    Large tensors are yielded as they are, beside views of one number or of one number a row. Small ones are
    yielded together, end to end as one vector with a number for each entry, and copied back when the walk goes on:
    of hundreds of tensors only the large ones cost a launch each.

    Args:
        tensors: plain ones, to be changed in place.
        columns: vectors of numbers, one a tensor or one a row, tensor after tensor.
        rows: numbers are of rows; tensors of fewer than two axes are one row.

    Yields:
        tensors of one device and dtype, and what goes with them of each column: in float32 for those of 16 bits.
    """
    units = [len(x) if rows and x.ndim > 1 else 1 for x in tensors]
    starts = [0, *itertools.accumulate(units)]
    for (device, dtype), places in alike(tensors).items():
        wide = torch.float32 if dtype in _NARROW else dtype
        numbers = [column.to(device, wide, non_blocking=device.type != "cpu") for column in columns]
        small = [i for i in places if 0 < tensors[i].numel() <= _SMALL]
        small = small if len(small) > 1 else []
        large = [i for i in places if tensors[i].numel() > (_SMALL if small else 0)]
        laid = [tensors[i] for i in large]
        views = [[_of_rows(x, starts[i], units[i], tensors[i].ndim) for i in large] for x in numbers]
        if not small:
            if laid:  # a process may hold nothing of any tensor
                yield laid, tuple(views)
            continue
        lengths = [tensors[i].numel() // units[i] for i in small]
        index = repeated([starts[i] for i in small], [units[i] for i in small], lengths, device)
        joined = torch.cat([tensors[i].reshape(-1) for i in small])
        yield [*laid, joined], tuple([*view, x[index]] for view, x in zip(views, numbers, strict=True))
        parts = joined.split([tensors[i].numel() for i in small])
        torch._foreach_copy_(
            [tensors[i] for i in small], [part.view_as(tensors[i]) for part, i in zip(parts, small, strict=True)]
        )


def _of_rows(numbers: Tensor, start: int, units: int, axes: int) -> Tensor:
    return numbers[start] if units == 1 else numbers[start : start + units].view(-1, *[1] * (axes - 1))


def multiply_(tensors: list[Tensor], factors: Tensor) -> list[Tensor]:
    """Multiply tensors in place, each by its own number or all by one.

    On a CPU, where looking costs nothing, tensors whose number is 1 are not touched. On a GPU single numbers cost a
    launch a large tensor and no wait; one number for all costs one launch.

    Args:
        tensors: to be overwritten.
        factors: of shape (tensors,) or ().
    """
    here = local(tensors)
    if factors.device.type == "cpu":
        single: list[float] = factors.expand(len(here)).tolist()
        for tensor, x in zip(here, single, strict=True):
            if x != 1.0:
                tensor.mul_(x)  # torch._foreach_mul_ would round the number to float16 first, to infinity even
        return tensors
    if factors.ndim == 0:
        for (device, dtype), places in alike(here).items():
            number = factors.to(device, torch.float32 if dtype in _NARROW else dtype)
            torch._foreach_mul_([here[i] for i in places], number)
        return tensors
    for parts, (numbers,) in beside(here, factors):
        torch._foreach_mul_(parts, numbers)
    return tensors
