"""Numbers on a device that are the same in every step, made once: copying a list anew makes a GPU wait."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

_LARGE_ONES = 8
"""Indices of a number an entry or a row that are kept: more than a run needs, unless its sets of gradients change."""


def positions(places: Sequence[int], device: torch.device) -> Tensor:
    """Return places in a list as an index.

    Args:
        places: in any order.
        device: where what is indexed lies.
    """
    return _made(tuple(places), device)


def repeated(starts: Sequence[int], units: Sequence[int], lengths: Sequence[int], device: torch.device) -> Tensor:
    """Return an index that repeats numbers of single units as often as each has entries, tensor after tensor.

    Args:
        starts: place of each tensor's first unit.
        units: how many units each tensor has.
        lengths: entries of each unit of it.
        device: where the numbers lie.
    """
    return _repeated(tuple(zip(starts, units, lengths, strict=True)), device)


def padded(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Return an index (tensors, longest) into tensors laid end to end; where one is over, the entry after the last.

    Args:
        lengths: entries of each tensor.
        device: where they lie.
    """
    return _padded(tuple(lengths), device)


@lru_cache(maxsize=64)
def constants(numbers: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return settings as a vector."""
    return torch.tensor(numbers, dtype=dtype).to(device)


@lru_cache(maxsize=256)
def _made(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places, dtype=torch.int64).to(device)


@lru_cache(maxsize=_LARGE_ONES)
def _repeated(layout: tuple[tuple[int, int, int], ...], device: torch.device) -> Tensor:
    runs = [torch.arange(start, start + units).repeat_interleave(length) for start, units, length in layout]
    return torch.cat(runs).to(device)


@lru_cache(maxsize=_LARGE_ONES)
def _padded(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    ends = torch.tensor(lengths).cumsum(0).unsqueeze(1)
    at = torch.arange(max(lengths)) + ends - torch.tensor(lengths).unsqueeze(1)
    return torch.where(at < ends, at, ends[-1]).to(device)
