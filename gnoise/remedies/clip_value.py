"""Bounds on single entries: one for a tensor, or one for each coordinate."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from gnoise.remedies.clip_norm import positive
from gnoise.remedies.entrywise import Each, Scale, entrywise, over_parts
from gnoise.remedies.lists import batches, widened
from gnoise.remedies.positions import constants
from gnoise.remedies.transform import State, Transform, book_dtype, identity

_WORTH_A_LAUNCH = 1 << 22
"""Entries from which a GPU needs longer to go through memory once more than a host needs for a launch."""


def clip_value(limit: Scale = None, *, gain: float = 3.0, decay: float = 0.99) -> Transform:
    r"""Clip every entry to ±τ of its tensor.

    NaN stays NaN; infinities are bounded like everything else when τ is given.

    Args:
        limit: τ: one number, one for each tensor, or ``None`` to track it over steps as
            :func:`gnoise.remedies.shrink.shrink` does its scale; infinity is the identity.
        gain: multiplies a tracked scale; not used with a given limit.
        decay: of a tracked scale's average over steps.
    """
    return entrywise(over_parts(_clip_, _clip_all_), limit, gain=gain, decay=decay, setting="limit")


def clip_coordinates(limit: float = 10.0, *, decay: float = 0.999, adam: Optimizer | None = None) -> Transform:
    r"""Clip every entry to a multiple of its own root mean square so far: $\pm c\sqrt{\hat v}$.

    $v$ averages the squares of clipped entries, of past steps only when it serves as the bound, and is
    corrected for its zero start. A coordinate that was always zero is not bounded: a rare token's first
    gradient passes. A NaN stays NaN, an infinity is bounded like any other entry; where either reaches $v$, that
    coordinate starts anew, or with ``adam`` is as lost as in the bare optimizer.

    Args:
        limit: c; infinity is the identity.
        decay: of v; not used with ``adam``.
        adam: the Adam or AdamW it runs in, whose own second moment serves as v: no buffer of its own, and the same
            values where Adam's β₂ is ``decay``. Another transform between the two makes them differ.

    References:
        SPAM, arXiv 2501.06842, clips to √(θ v) with Adam's own v, kept after each momentum reset; this one
        starts unbounded.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()
    if adam is not None:
        return Transform(lambda params: State(), _clip_by_adam(adam, limit))

    def init(params: Sequence[Tensor]) -> State:
        wide = [torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) for x in params]
        return State(per_entry={"second": wide}, shared={"steps": torch.zeros((), dtype=torch.int64)})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        second, steps = state.per_entry["second"], state.shared["steps"]
        times = limit / math.sqrt(1.0 - decay ** max(int(steps), 1))
        for _, (parts, averages) in batches(grads, second):
            entries = widened(parts)
            # A CPU needs the squares to see whether anything changes; if nothing does, the average has them as well.
            squares = _squares(entries) if entries[0].device.type == "cpu" else None
            changed = _clip_to_(entries, averages, [times] * len(parts), squares=squares)
            squares = _squares(entries) if changed or squares is None else squares
            torch._foreach_lerp_(averages, squares, 1.0 - decay)
            if changed:
                for average in averages:
                    average.nan_to_num_(nan=0.0, posinf=0.0)
            if changed and entries is not parts:
                torch._foreach_copy_(parts, entries)
        return grads, State(per_entry=state.per_entry, shared={"steps": steps + 1})

    return Transform(init, update)


def _squares(entries: list[Tensor]) -> list[Tensor]:
    return list(torch._foreach_mul(entries, entries))


def _clip_by_adam(
    adam: Optimizer, limit: float
) -> Callable[[list[Tensor], State, Sequence[Tensor]], tuple[list[Tensor], State]]:
    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        betas = {id(x): group["betas"][1] for group in adam.param_groups for x in group["params"]}
        places = [i for i, x in enumerate(params) if "exp_avg_sq" in adam.state.get(x, {})]
        seen = [adam.state[params[i]] for i in places]
        times = _times(limit, [betas[id(params[i])] for i in places], [moments["step"] for moments in seen])
        for owners, (parts, averages) in batches([grads[i] for i in places], [x["exp_avg_sq"] for x in seen]):
            entries = widened(parts)
            if _clip_to_(entries, widened(averages), [times[i] for i in owners]) and entries is not parts:
                torch._foreach_copy_(parts, entries)
        return grads, state

    return update


def _times(limit: float, decays: list[float], steps: Sequence[float | Tensor]) -> Sequence[float | Tensor]:
    """Return c/√(1−βᵗ) of each tensor: where Adam counts steps on the GPU without asking for them."""
    counts = [step for step in steps if isinstance(step, Tensor)]
    devices = {count.device for count in counts}
    if len(counts) < len(steps) or len(devices) != 1 or torch.device("cpu") in devices:
        return [limit / math.sqrt(1.0 - decay ** float(step)) for decay, step in zip(decays, steps, strict=True)]
    (device,) = devices
    corrections = 1.0 - constants(tuple(decays), device, book_dtype(device)) ** torch.stack(counts)
    return list((limit / corrections.sqrt()).float().unbind())


def _clip_to_(
    entries: list[Tensor],
    averages: list[Tensor],
    times: Sequence[float | Tensor],
    *,
    squares: list[Tensor] | None = None,
) -> bool:
    """Clip to ±times · √average in place, unbounded where the average is zero; say whether anything may have changed.

    On a CPU a part where every square lies within its bound, as most do, is only looked at.
    """
    if entries[0].device.type == "cpu":
        numbers = [float(x) for x in times]
        slack = _slack(entries, averages, numbers) if squares is None else _slack_of(squares, averages, numbers)
        apart = [i for i, least in enumerate(slack) if not least >= 0.0]  # NaN is apart
    else:
        apart = list(range(len(entries)))
    if not apart:
        return False
    beyond, bounds = [entries[i] for i in apart], list(torch._foreach_sqrt([averages[i] for i in apart]))
    torch._foreach_mul_(bounds, cast("Each", [times[i] for i in apart]))
    for bound in bounds:
        torch.threshold_(bound, 0.0, math.inf)  # what is not above zero becomes infinite
    torch._foreach_minimum_(beyond, bounds)
    torch._foreach_neg_(bounds)
    torch._foreach_maximum_(beyond, bounds)
    return True


def _slack(entries: list[Tensor], averages: list[Tensor], times: list[float]) -> list[float]:
    """Return the least of average − (entry / times)² of each part."""
    each = zip(entries, averages, times, strict=True)
    return [torch.addcmul(v, x, x, value=-1.0 / c**2).amin().item() for x, v, c in each]


def _slack_of(squares: list[Tensor], averages: list[Tensor], times: list[float]) -> list[float]:
    """Do the same with squares at hand."""
    return [torch.sub(v, x, alpha=1.0 / c**2).amin().item() for x, v, c in zip(squares, averages, times, strict=True)]


def _clip_(entries: Tensor, limit: float) -> None:
    entries.clamp_(-limit, limit)


def _clip_all_(entries: list[Tensor], limits: Each) -> None:
    numbers = {i: limit for i, limit in enumerate(limits) if not isinstance(limit, Tensor)}
    for i in (i for i in numbers if entries[i].numel() > _WORTH_A_LAUNCH):
        _clip_(entries[i], numbers[i])
    shared = [i for i in numbers if entries[i].numel() <= _WORTH_A_LAUNCH]
    if shared:
        torch._foreach_clamp_max_([entries[i] for i in shared], [numbers[i] for i in shared])
        torch._foreach_clamp_min_([entries[i] for i in shared], [-numbers[i] for i in shared])
    bounds = {i: limit for i, limit in enumerate(limits) if isinstance(limit, Tensor)}
    if bounds:
        for (i, bound), low in zip(bounds.items(), torch._foreach_neg(list(bounds.values())), strict=True):
            entries[i].clamp_(low, bound)
