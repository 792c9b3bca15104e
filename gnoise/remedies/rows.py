"""The saturating form of shrinking row by row: what token tables get."""

import torch
from torch import Tensor

from gnoise.remedies.lists import row_blocks, widened
from gnoise.remedies.shards import local

_SAMPLE = 32
"""Entries of a row looked at, evenly strided: a scale to a quarter or so, where the limit is a few scales."""


def saturate_rows(grads: list[Tensor], scale: float | Tensor, *, gain: float) -> None:
    r"""Shrink entries as $x/\sqrt{1+(x/\tau_i)^2}$ in place, with one limit a row.

    $\tau_i = \max(\tau, k\,e^{\overline{\log|x_i|}})$: a row that is loud as a whole, as a rare token's is, has a scale
    of its own and is hardly touched; an entry that is loud within its row is bounded. Under Cauchy noise
    the geometric mean is the noise's scale, so the two limits agree. A vector is one row; of a
    tensor with more axes the first counts rows.

    Args:
        grads: to be overwritten; of sharded ones each process scales rows by what it holds of them.
        scale: τ: one number or one for each tensor.
        gain: k.
    """
    for place, grad in enumerate(local(grads)):
        if grad.numel() == 0:
            continue
        rows = grad.reshape(1, -1) if grad.ndim == 0 else grad.unsqueeze(0) if grad.ndim == 1 else grad
        each = scale[place].to(grad.device) if isinstance(scale, Tensor) else scale
        for part in row_blocks(rows):
            (entries,) = widened([part])
            limits = (gain * _row_scales(entries)).clamp(min=each)
            _saturate_(entries, limits.view(-1, *[1] * (part.ndim - 1)))
            if entries is not part:
                part.copy_(entries)


def _saturate_(entries: Tensor, limits: Tensor) -> None:
    """Do what :func:`gnoise.formulas.shrink_saturating` does, in place and in three operations."""
    ratio = entries / limits
    entries.mul_(torch.addcmul(ratio.new_ones(()), ratio, ratio).rsqrt_())


def _row_scales(rows: Tensor) -> Tensor:
    """Return the geometric mean of each row's non-zero finite entries; zero where there are none."""
    matrix = rows.flatten(1)
    logs = matrix[:, :: -(-matrix.shape[1] // _SAMPLE)].abs().log_()
    counted = logs.isfinite()  # neither the logarithm of zero nor that of what is not finite is
    number = counted.sum(dim=1)
    mean = torch.where(counted, logs, 0.0).sum(dim=1).div_(number.clamp(min=1))
    return torch.where(number > 0, mean.exp_(), 0.0)
