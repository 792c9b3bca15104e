"""The scale of each tensor's entries, tracked over steps without a mean or variance."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.formulas import bias_corrected, cauchy_gaussian_scales, ema
from gnoise.remedies.positions import constants, padded
from gnoise.remedies.shards import local, over_processes
from gnoise.remedies.transform import State, book_dtype

_SAMPLE = 1024
"""Entries looked at, evenly strided: a scale to ten percent or so, averaged over steps."""
_FREQUENCIES = (0.3, 1.0)
"""In units of the reciprocal geometric mean of |entry|."""
_LARGEST = 6.0
"""−log|φ| beyond this is sampling noise of a thousand cosines."""


def init_scale(params: Sequence[Tensor]) -> State:
    """Start without a scale: the first usable gradient gives one."""
    device = params[0].device
    zeros = torch.zeros(len(params), dtype=book_dtype(device), device=device)
    return State(per_tensor={"log_scale": zeros, "steps": zeros.clone()})


def track_scale(grads: Sequence[Tensor], state: State, *, decay: float, gain: float) -> tuple[Tensor, State]:
    r"""Return each tensor's τ and the next state.

    Of this step's non-zero finite entries, fitted as Gaussian plus Cauchy by the characteristic function at two
    frequencies (:func:`gnoise.formulas.cauchy_gaussian_scales`), $\tau_t = \sqrt{\gamma^2 + 2s^2}$. Its logarithm is
    averaged over steps, so one step a thousand times too loud moves the scale by a few percent. Exact zeros
    (rows of tokens that did not occur) never count; a tensor of nothing else keeps its scale.

    Args:
        grads: this step's gradients.
        state: from :func:`init_scale` or the previous step.
        decay: of the moving average over steps, in [0, 1).
        gain: multiplies the scale.
    """
    seen, usable = _scales(grads)
    steps = state.per_tensor["steps"] + usable
    log_scale = torch.where(
        usable, ema(state.per_tensor["log_scale"], seen.log(), decay), state.per_tensor["log_scale"]
    )
    scale = bias_corrected(log_scale, decay, steps.clamp(min=1.0)).exp()
    return gain * scale, State(per_tensor={"log_scale": log_scale, "steps": steps})


def _scales(grads: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    values = _sampled(grads)
    sizes = values.abs()
    counted = (sizes > 0.0) & (sizes < math.inf)
    magnitude = torch.where(counted, sizes, 1.0)
    totals = _sums(torch.stack([counted.to(magnitude.dtype), magnitude.log()]), grads)
    number = totals[0].clamp(min=1.0)
    unit = (totals[1] / number).exp()
    phase = magnitude / unit.to(magnitude.dtype).unsqueeze(1)
    frequencies = constants(_FREQUENCIES, phase.device, phase.dtype)
    waves = torch.cos(frequencies.view(-1, 1, 1) * phase) * counted
    heights = (_sums(waves, grads) / number).abs()
    spread = -heights.clamp(min=math.exp(-_LARGEST)).log()
    cauchy, gaussian = cauchy_gaussian_scales(spread[0], spread[1], _FREQUENCIES)
    width = (cauchy.square() + 2.0 * gaussian).sqrt()
    usable = (totals[0] > 0) & (width > 0.0)
    return torch.where(usable, unit * width, 1.0), usable


def _sampled(grads: Sequence[Tensor]) -> Tensor:
    """Return entries of each tensor as rows of one table, filled up with zeros, which never count."""
    device = grads[0].device
    parts = [_strided(x, grad.numel()).to(device) for x, grad in zip(local(grads), grads, strict=True)]
    values = torch.cat([*parts, parts[0].new_zeros(1)]).detach().float()
    return values[padded([len(part) for part in parts], device)]


def _strided(part: Tensor, numel: int) -> Tensor:
    # An odd stride walks through the columns of a matrix instead of visiting the same few in every row.
    step = -(-numel // _SAMPLE) | 1
    if part.is_contiguous():
        return part.as_strided((-(-part.numel() // step),), (step,))  # one call, for there may be hundreds
    return part.reshape(-1)[::step]


def _sums(tables: Tensor, grads: Sequence[Tensor]) -> Tensor:
    return over_processes(tables.sum(dim=-1, dtype=book_dtype(tables.device)), grads)
