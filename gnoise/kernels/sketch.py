"""The float-bit histogram of a tensor, and of its standardised values, in one pass."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gnoise.errors import UserError
from gnoise.kernels.choice import Backend, choose, multiprocessors

BUCKETS = 1 << 17
_SHIFT = 15
_COPIES = 8
"""Of the buckets, so that programs rarely wait for each other at one address."""
_BLOCK = 1024


class BitCounts(NamedTuple):
    """Values by the leading 17 bits of their float32 pattern: the layout of :class:`gnoise.records.Sketch`.

    Attributes:
        counts: values in each bucket, exact zeros left out; NaN and infinities are in the buckets of exponent 255, a
            NaN with either sign.
        zeros: exact zeros of either sign, a tensor of no dimension: reading it waits for the GPU.
    """

    counts: Int[Tensor, " buckets"]
    zeros: Int[Tensor, ""]


def sketch(
    values: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"] | None = None
) -> tuple[BitCounts, BitCounts | None]:
    """Count values, and values divided by a scale of their own, by sign, exponent and eight mantissa bits.

    The counts are exact, whatever the number of values up to 2⁶³. Both histograms come from one reading. What float32
    cannot hold counts as an infinity or a zero.

    Args:
        values: any shape; 16-bit types are counted as the float32 they stand for.
        scale: of values' shape; 0 makes an infinity or a NaN. ``None``: no second histogram.

    Raises:
        UserError: shapes or devices do not fit, or ``GNOISE_KERNELS`` forces what cannot run.
    """
    return (sketch_triton if choose(values) is Backend.TRITON else sketch_reference)(values, scale)


@torch.no_grad()
def sketch_triton(
    values: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"] | None = None
) -> tuple[BitCounts, BitCounts | None]:
    """Do the same in Triton, by integer atomics on a few copies of the buckets."""
    from gnoise.kernels.programs import sketch as program  # noqa: PLC0415, RUF100

    flat, of_each = _flat(values, scale)
    kinds = 1 if of_each is None else 2
    counts = torch.zeros((kinds, _COPIES, BUCKETS), dtype=torch.int64, device=flat.device)
    programs = max(1, min(8 * multiprocessors(flat.device), -(-flat.numel() // _BLOCK)))
    span = -(-flat.numel() // (programs * _BLOCK)) * _BLOCK  # a multiple of 16, so that loads are wide
    zeros = torch.zeros((kinds, programs), dtype=torch.int64, device=flat.device)
    if flat.numel():
        with torch.cuda.device_of(flat):
            program.count_bits[(programs,)](
                flat, flat if of_each is None else of_each, counts, zeros, flat.numel(), span,
                COPIES=_COPIES, HAS_SCALE=of_each is not None, BLOCK=_BLOCK, num_warps=4,  # pyright: ignore[reportCallIssue]
            )  # fmt: skip
    found = [BitCounts(c, z) for c, z in zip(counts.sum(1), zeros.sum(1), strict=True)]
    return found[0], found[1] if kinds == 2 else None


@torch.no_grad()
def sketch_reference(
    values: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"] | None = None
) -> tuple[BitCounts, BitCounts | None]:
    """Do the same in torch, in a pass for each histogram."""
    flat, of_each = _flat(values, scale)
    return _counted(flat), None if of_each is None else _counted(flat / of_each)


def _counted(flat: Tensor) -> BitCounts:
    numbers = flat[flat != 0.0]
    buckets = torch.bitwise_right_shift(numbers.view(torch.int32), _SHIFT) & (BUCKETS - 1)
    counts = torch.bincount(buckets, minlength=BUCKETS)
    return BitCounts(counts, torch.tensor(flat.numel() - numbers.numel(), device=flat.device))


def _flat(values: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if not values.is_floating_point():
        raise UserError(f"expected floating-point values, got {values.dtype}; try values.float()")
    if scale is not None and (scale.shape != values.shape or scale.device != values.device):
        raise UserError(
            f"expected a scale for each of the values, {tuple(values.shape)} on {values.device}, got "
            f"{tuple(scale.shape)} on {scale.device}; try scale.expand_as(values)"
        )
    of_each = None if scale is None else scale.detach().float().reshape(-1).contiguous()
    return values.detach().float().reshape(-1).contiguous(), of_each
