"""What clipping and shrinking entries share: where the scale comes from, and the walk over the list."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.lists import batches, beside, widened
from gnoise.remedies.shards import local
from gnoise.remedies.tracked_scale import init_scale, track_scale
from gnoise.remedies.transform import State, Transform, identity

Scale = float | Sequence[float] | None
"""One number for all tensors, one for each, or ``None``: track it over steps."""
Each = list[float] | list[Tensor]
"""The scale of each part: numbers where they are known without waiting for a GPU, else tensors as wide as the part
or to be repeated over it."""
Alone = Callable[[Tensor, float], object]
"""Change the entries of one part in place: on a CPU, where the next operation finds them in its cache."""
Together = Callable[[list[Tensor], Each], object]
"""The same for many tensors in a handful of launches: on a GPU."""
Walk = Callable[[list[Tensor], float | Tensor], None]
"""Change gradients in place, given one scale or a vector of them."""


def entrywise(walk: Walk, scale: Scale, *, gain: float, decay: float, setting: str) -> Transform:
    """Make the transform of an entry-wise rule.

    Args:
        walk: the rule over whole gradients; :func:`over_parts` makes one.
        scale: as :data:`Scale`.
        gain: multiplies a tracked scale.
        decay: of a tracked scale's average.
        setting: what the scale is called, for errors.
    """
    if scale is None:
        return identity() if math.isinf(positive(gain, "gain")) else _tracked(walk, gain=gain, decay=decay)
    if isinstance(scale, Sequence):
        return _listed(walk, [float(positive(x, setting)) for x in scale], setting)
    return identity() if math.isinf(positive(scale, setting)) else _single(walk, float(scale))


def _single(walk: Walk, scale: float) -> Transform:
    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        walk(grads, scale)
        return grads, state

    return Transform(lambda params: State(), update)


def _listed(walk: Walk, scales: list[float], setting: str) -> Transform:
    def init(params: Sequence[Tensor]) -> State:
        if len(scales) != len(params):
            raise UserError(
                f"expected one {setting} or one for each of {len(params)} tensors, got {len(scales)}; "
                f"try {setting}=[...] in the order of the parameters"
            )
        return State(per_tensor={"scale": torch.tensor(scales)})  # not on a GPU: known without waiting for it

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        walk(grads, state.per_tensor["scale"])
        return grads, state

    return Transform(init, update)


def _tracked(walk: Walk, *, gain: float, decay: float) -> Transform:
    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        scales, after = track_scale(grads, state, decay=decay, gain=gain)
        walk(grads, scales)
        return grads, after

    return Transform(init_scale, update)


def over_parts(alone: Alone, together: Together) -> Walk:
    """Walk through gradients: on a CPU part by part, each small enough for its cache, on a GPU all at once."""

    def walk(grads: list[Tensor], scale: float | Tensor) -> None:
        if isinstance(scale, Tensor) and scale.device.type != "cpu":
            for parts, (limits,) in beside(local(grads), scale):
                in_full(parts, limits, together)
            return
        numbers = [float(x) for x in scale.tolist()] if isinstance(scale, Tensor) else [float(scale)] * len(grads)
        for owners, (parts,) in batches(grads):
            in_full(parts, [numbers[i] for i in owners], together if parts[0].device.type != "cpu" else part_by_part)

    def part_by_part(entries: list[Tensor], limits: Each) -> None:
        for entry, limit in zip(entries, limits, strict=True):
            alone(entry, float(limit))

    return walk


def in_full(parts: list[Tensor], limits: Each, together: Together) -> None:
    """Run a rule on tensors in place, on those of 16 bits in float32."""
    entries = widened(parts)
    together(entries, limits)
    if entries is not parts:
        torch._foreach_copy_(parts, entries)
