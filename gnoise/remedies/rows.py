"""The saturating form of shrinking row by row: what token tables get."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.remedies.entrywise import Together, in_full
from gnoise.remedies.lists import alike, beside, row_blocks, widened
from gnoise.remedies.positions import positions, repeated
from gnoise.remedies.shards import local

_RUNS, _RUN = 4, 8
"""Entries of a row looked at: evenly spread runs, each about one line of a CPU's cache. They give a scale to a quarter
or so, where the limit is a few scales."""
_SAFE = (1e-15, 1e15)
"""Limits whose squares, and those of entries about their size, surely lie within float32."""


def saturate_rows(grads: list[Tensor], scale: float | Tensor, *, gain: float, together: Together) -> None:
    r"""Shrink entries as $x/\sqrt{1+(x/\tau_i)^2}$ in place, with one limit a row.

    $\tau_i = \max(\tau, k\,e^{\overline{\log|x_i|}})$: a row that is loud as a whole, as a rare token's is, has a scale
    of its own and is hardly touched; an entry that is loud within its row is bounded. Under Cauchy noise
    the geometric mean is the noise's scale, so the two limits agree. A vector is one row; of a
    tensor with more axes the first counts rows.

    Args:
        grads: to be overwritten; of sharded ones each process scales rows by what it holds of them.
        scale: τ: one number or one for each tensor.
        gain: k.
        together: the rule for many tensors at once, each with its rows' limits.
    """
    here = local(grads)
    for (device, _), held in alike(here).items():
        places = [i for i in held if here[i].numel()]
        if device.type == "cpu":
            for i in places:
                _saturate_cached(_rows_of(here[i]), float(scale[i]) if isinstance(scale, Tensor) else scale, gain)
        elif places:
            rows = [_rows_of(here[i]) for i in places]
            few = scale[positions(places, scale.device)] if isinstance(scale, Tensor) else scale
            for parts, (limits,) in beside(rows, limits_of_rows(rows, few, gain=gain), rows=True):
                in_full(parts, limits, together)


def limits_of_rows(rows: Sequence[Tensor], scale: float | Tensor, *, gain: float) -> Tensor:
    """Return τ_i of all rows of some tensors, one after the other, in launches that do not grow with their number.

    Args:
        rows: plain tensors with entries and at least two axes, of one device.
        scale: τ: one number or one for each tensor.
        gain: k.
    """
    samples = torch.cat([_table(_sample(x.flatten(1))) for x in rows]).flatten(1)
    limits = gain * _row_scales(samples)
    if not isinstance(scale, Tensor):
        return limits.clamp(min=scale)
    tensors = list(range(len(rows)))
    owners = repeated(tensors, [1] * len(rows), [len(x) for x in rows], limits.device)
    return torch.maximum(limits, scale.to(limits, non_blocking=True)[owners])


def _rows_of(tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1) if tensor.ndim < 2 else tensor


def _saturate_cached(rows: Tensor, least: float, gain: float) -> None:
    """Do so on a CPU, in parts that stay in its cache."""
    parts = row_blocks(rows)
    limits = (gain * torch.cat([_row_scales(_sample(part.flatten(1)).flatten(1)) for part in parts])).clamp(min=least)
    shape = (-1, *[1] * (rows.ndim - 1))
    quick = bool(_SAFE[0] < limits.min()) and bool(limits.max() < _SAFE[1])
    saturate_ = _saturate_quickly_ if quick else _saturate_
    for part, limit in zip(parts, limits.split(len(parts[0])), strict=True):
        (entries,) = widened([part])
        saturate_(entries, limit.view(shape))
        if entries is not part:
            part.copy_(entries)


def _saturate_(entries: Tensor, limits: Tensor) -> None:
    """Do what :func:`gnoise.formulas.shrink_saturating` does, in place, for limits of any size."""
    ratio = entries / limits
    entries.mul_(torch.addcmul(ratio.new_ones(()), ratio, ratio).rsqrt_())


def _saturate_quickly_(entries: Tensor, limits: Tensor) -> None:
    r"""Do the same as $x\tau/\sqrt{\tau^2+x^2}$: no division, and one temporary."""
    entries.mul_(torch.addcmul(limits.square(), entries, entries).rsqrt_()).mul_(limits)


def _table(sample: Tensor) -> Tensor:
    """Bring samples of rows to one width, by zeros, which do not count."""
    if sample.ndim == 2:
        sample = torch.nn.functional.pad(sample, (0, _RUNS * _RUN - sample.shape[1]))
    return sample.reshape(-1, _RUNS, _RUN)


def _row_scales(samples: Tensor) -> Tensor:
    """Return the geometric mean of each row's non-zero finite entries; zero where there are none."""
    (sizes,) = widened([samples.abs()])
    logs = sizes.log_()
    counted = logs.abs() < math.inf  # neither the logarithm of zero nor that of what is not finite is
    number = counted.sum(dim=1)
    mean = logs.nan_to_num_(0.0, posinf=0.0, neginf=0.0).sum(dim=1).div_(number.clamp(min=1))
    return torch.where(number > 0, mean.exp_(), 0.0)


def _sample(matrix: Tensor) -> Tensor:
    width = matrix.shape[1]
    if width <= _RUNS * _RUN:
        return matrix
    return matrix.unfold(1, _RUN, (width - _RUN) // (_RUNS - 1))[:, :_RUNS]
