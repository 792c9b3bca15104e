"""Bounds on single entries: one for a tensor, or one for each coordinate."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.remedies.clip_norm import positive
from gnoise.remedies.entrywise import Each, Scale, entrywise
from gnoise.remedies.lists import batches, widened
from gnoise.remedies.transform import State, Transform, identity


def clip_value(limit: Scale = None, *, gain: float = 3.0, decay: float = 0.99) -> Transform:
    r"""Clip every entry to ±τ of its tensor.

    NaN stays NaN; infinities are bounded like everything else when τ is given.

    Args:
        limit: τ: one number, one for each tensor, or ``None`` to track it over steps as
            :func:`gnoise.remedies.shrink.shrink` does its scale; infinity is the identity.
        gain: multiplies a tracked scale; not used with a given limit.
        decay: of a tracked scale's average over steps.
    """
    return entrywise(_clip_, limit, gain=gain, decay=decay, setting="limit")


def clip_coordinates(limit: float = 10.0, *, decay: float = 0.999) -> Transform:
    r"""Clip every entry to a multiple of its own root mean square so far: $\pm c\sqrt{\hat v}$.

    $v$ averages the squares of clipped entries, of past steps only when it serves as the bound, and is
    corrected for its zero start. A coordinate that was always zero is not bounded: a rare token's first
    gradient passes. A NaN stays NaN, an infinity is bounded like any other entry; where either reaches $v$, that
    coordinate starts anew.

    Args:
        limit: c; infinity is the identity.
        decay: of v.

    References:
        SPAM, arXiv 2501.06842, clips to √(θ v) with Adam's own v, kept after each momentum reset; this one
        keeps its own and starts unbounded.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def init(params: Sequence[Tensor]) -> State:
        wide = [torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) for x in params]
        return State(per_entry={"second": wide}, shared={"steps": torch.zeros((), dtype=torch.int64)})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        second, steps = state.per_entry["second"], state.shared["steps"]
        corrected = 1.0 - decay ** max(int(steps), 1)
        for _, (parts, averages) in batches(grads, second):
            entries = widened(parts)
            bounds = _bounds(averages, limit / math.sqrt(corrected))
            torch._foreach_minimum_(entries, bounds)
            torch._foreach_neg_(bounds)
            torch._foreach_maximum_(entries, bounds)
            torch._foreach_mul_(averages, decay)
            torch._foreach_addcmul_(averages, entries, entries, 1.0 - decay)
            for average in averages:
                average.nan_to_num_(nan=0.0, posinf=0.0)
            if entries is not parts:
                torch._foreach_copy_(parts, entries)
        return grads, State(per_entry=state.per_entry, shared={"steps": steps + 1})

    return Transform(init, update)


def _bounds(averages: list[Tensor], times: float) -> list[Tensor]:
    """Return times · √average, and infinity where the average is zero."""
    bounds = torch._foreach_sqrt(averages)
    torch._foreach_mul_(bounds, times)
    for bound in bounds:
        torch.threshold_(bound, 0.0, math.inf)  # what is not above zero becomes infinite
    return list(bounds)


def _clip_(entries: list[Tensor], limits: Each) -> None:
    numbers = [limit for limit in limits if not isinstance(limit, Tensor)]
    if len(numbers) < len(limits):
        bounds = [limit for limit in limits if isinstance(limit, Tensor)]
        torch._foreach_minimum_(entries, bounds)
        torch._foreach_maximum_(entries, torch._foreach_neg(bounds))
    elif entries[0].device.type == "cpu":
        for entry, limit in zip(entries, numbers, strict=True):
            entry.clamp_(-limit, limit)
    else:
        torch._foreach_clamp_max_(entries, numbers)
        torch._foreach_clamp_min_(entries, [-limit for limit in numbers])
