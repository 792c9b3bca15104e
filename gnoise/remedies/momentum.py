"""Average gradients before another rule looks at them: how an entry-wise remedy acts after momentum."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.lists import batches, widened
from gnoise.remedies.transform import State, Transform, identity


def momentum(decay: float = 0.9) -> Transform:
    r"""Replace each gradient by its moving average, corrected for the zero start: $\hat m$.

    In an optimizer whose own momentum is off, ``chain(momentum(0.9), shrink("rational"))`` shrinks *after* momentum:
    ``SGD(momentum=0)``, ``Muon(momentum=0, nesterov=False)``, ``Adam(betas=(0, β₂))``. SGD's own momentum is a sum: the
    average equals it, once settled, at 1/(1 − β) times the learning rate. Adam's second moment then sees the
    averaged and shrunk gradient instead of the raw one. A zero gradient counts as a step; a coordinate that
    was not finite starts anew.

    Args:
        decay: β in [0, 1); zero is the identity.

    Raises:
        UserError: a decay outside of [0, 1).
    """
    if not 0.0 <= decay < 1.0:
        raise UserError(f"expected decay in [0, 1), got {decay}; try decay=0.9")
    if decay == 0.0:
        return identity()

    def init(params: Sequence[Tensor]) -> State:
        wide = [torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) for x in params]
        return State(per_entry={"average": wide}, per_tensor={"steps": torch.zeros(len(params))})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        steps = state.per_tensor["steps"] + 1.0
        corrections = [1.0 / (1.0 - decay**step) for step in steps.tolist()]
        for owners, (parts, averages) in batches(grads, state.per_entry["average"]):
            torch._foreach_lerp_(averages, widened(parts), 1.0 - decay)
            torch._foreach_copy_(parts, torch._foreach_mul(averages, [corrections[i] for i in owners]))
            for average in averages:
                average.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        return grads, State(per_entry=state.per_entry, per_tensor={"steps": steps})

    return Transform(init, update)
