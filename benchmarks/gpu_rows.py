"""Rows of the GPU benchmark's table, and the inputs its parts share. Does nothing alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from gpu_clock import DEVICE
from report import Cell
from torch import Tensor

EPS = 1e-5
OTHERS = ("torch", "torch.compile", "Liger")


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Attributes:
        what: was measured.
        shape: on which inputs.
        milliseconds: of one call; ``None`` where nothing was timed.
        of_copy: bytes that must move over time, over a plain copy's.
        beside: ratios to other ways, by their names; below 1 is better.
        holds: whether the bar does.
        same_size: as ``of_copy``, of a copy that moves as many bytes.
    """

    what: str
    shape: str
    milliseconds: float | None = None
    of_copy: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    holds: bool | None = None
    same_size: float | None = None


@dataclass
class Report:
    """Rows of the table, and everything behind them."""

    results: list[Result] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Add a row, and say so."""
        self.results.append(result)
        print("  ", *(cell for cell in row_of(result) if cell is not None), flush=True)


def row_of(result: Result) -> tuple[Cell, ...]:
    """Lay a result out as the table's row."""
    beside = tuple(result.beside.get(other) for other in OTHERS)
    holds = None if result.holds is None else ("yes" if result.holds else "no")
    return result.what, result.shape, result.milliseconds, result.of_copy, result.same_size, *beside, holds


def shape_words(shape: Sequence[int]) -> str:
    """Write a shape as ``8×1024×768``."""
    return "×".join(map(str, shape))


def norm_inputs(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Make a norm layer's input, its output's gradient and its weight."""
    x = 1.0 + 2.0 * torch.randn(shape, device=DEVICE)
    return x.to(dtype), torch.randn(shape, device=DEVICE).to(dtype), torch.randn(shape[-1], device=DEVICE).to(dtype)
