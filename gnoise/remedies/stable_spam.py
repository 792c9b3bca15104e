"""The two gradient rules of Stable-SPAM: spike-aware clipping of entries (AdaClip) and norm scaling (AdaGN)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.formulas import bias_corrected, ema, lower_spikes
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.lists import batches, beside, largest, usable, widened
from gnoise.remedies.shards import local
from gnoise.remedies.stabilize import stabilize
from gnoise.remedies.transform import State, Transform, book_dtype, identity


def adaclip(limit: float = 1.0, *, decay: float = 0.999) -> Transform:
    r"""Scale down entries beyond the moving average of each tensor's largest entry.

    With $M = \max_i|g_i|$ and $\hat m$ its moving average, this step's $M$ included and corrected for the zero start,
    an entry with $|g_i| > c\,\hat m$ becomes $g_i\,c\,\hat m/M$: spikes keep their order and none is above the
    bound. A tensor whose largest entry is zero or not finite passes as it is, and its average does not move.

    Args:
        limit: c, which the paper has at 1; infinity is the identity.
        decay: θ of the moving average.

    References:
        Huang et al. 2025, Stable-SPAM, arXiv 2502.17055, versions 1 and 2.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def init(params: Sequence[Tensor]) -> State:
        device = params[0].device
        zeros = torch.zeros(len(params), dtype=book_dtype(device), device=device)
        return State(per_tensor={"average": zeros, "steps": zeros.clone()})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        books = state.per_tensor
        peak = largest(grads)
        moves = usable(peak)
        steps = books["steps"] + moves
        average = torch.where(moves, ema(books["average"], peak, decay), books["average"])
        bound = limit * bias_corrected(average, decay, steps.clamp(min=1.0))
        _lower(local(grads), torch.where(moves & (peak > bound), bound, math.inf), peak)
        return grads, State(per_tensor={"average": average, "steps": steps})

    return Transform(init, update)


def adagn(gammas: tuple[float, float] = (0.7, 0.9)) -> Transform:
    r"""Give each tensor's gradient the norm $\hat m/\sqrt{\hat v}$, with decays that forget a spike within steps.

    It is :func:`gnoise.remedies.stabilize.stabilize` without a largest ratio; the paper's ε = 10⁻⁸ in the
    denominator is left out.

    Args:
        gammas: γ₁ and γ₂ of the moving averages of ‖g‖ and ‖g‖².

    References:
        Huang et al. 2025, Stable-SPAM, arXiv 2502.17055, versions 1 and 2.
    """
    return stabilize(gammas, max_ratio=math.inf)


def _lower(tensors: list[Tensor], bounds: Tensor, peaks: Tensor) -> None:
    """Lower spikes in place. A CPU only touches tensors that have some; asking which would make a GPU wait."""
    if bounds.device.type != "cpu":
        lower_without_waiting(tensors, bounds, peaks)
        return
    spiked = [i for i, bound in enumerate(bounds.tolist()) if bound < math.inf]
    for owners, (parts,) in batches([tensors[i] for i in spiked]):
        for owner, part, entry in zip(owners, parts, widened(parts), strict=True):
            place = spiked[owner]
            part.copy_(lower_spikes(entry, bounds[place].to(entry), peaks[place].to(entry)))


def lower_without_waiting(tensors: Sequence[Tensor], bounds: Tensor, peaks: Tensor) -> None:
    """Lower spikes in place where they are, a few launches each for large tensors and for all small ones together.

    Args:
        tensors: plain ones.
        bounds: c m̂ of each; infinite where nothing has to change.
        peaks: its largest entry.
    """
    for parts, (limits, factors) in beside(tensors, bounds, torch.clamp(bounds / peaks, max=1.0)):
        one = factors[0].new_ones(())
        for part, limit, factor in zip(parts, limits, factors, strict=True):
            (entries,) = widened([part])
            part.mul_(torch.where(entries.abs() > limit, factor, one))
