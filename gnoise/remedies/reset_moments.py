"""Forget an optimizer's momentum now and then, or after a spike, so that one bad gradient does not linger in it."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from gnoise.errors import UserError
from gnoise.formulas import ema
from gnoise.remedies.lists import norms
from gnoise.remedies.wrap import bare

STATE_KEY = "gnoise.reset_moments"
"""Where an optimizer's ``state_dict`` holds the counts."""

_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "step")
_DECAY = 0.99


class MomentReset:
    """Counts steps and spikes, and empties an optimizer's moments.

    Made by :func:`reset_moments`.

    Attributes:
        steps: taken so far.
        spikes: seen so far.
        average: running average of the global gradient norm, without spikes; ``None`` before the first.
    """

    def __init__(self, optimizer: Optimizer, *, every: int | None, spike: float) -> None:
        self.steps = 0
        self.spikes = 0
        self.average: float | None = None
        self._every = every
        self._spike = spike
        self._handles: list[RemovableHandle] = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]

    def remove(self) -> None:
        """Leave the optimizer as it is from now on."""
        for handle in self._handles:
            handle.remove()

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._every is not None and self.steps and self.steps % self._every == 0:
            empty_moments(optimizer)
        self.steps += 1

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._spike == math.inf:
            return
        grads = [x.grad for group in optimizer.param_groups for x in group["params"] if x.grad is not None]
        if not grads:
            return
        size = torch.linalg.vector_norm(norms(grads)).item()
        if not math.isfinite(size) or (self.average is not None and size > self._spike * self.average):
            self.spikes += 1
            empty_moments(optimizer)
        else:
            self.average = size if self.average is None else ema(self.average, size, _DECAY)

    def _save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        state_dict[STATE_KEY] = {"steps": self.steps, "spikes": self.spikes, "average": self.average}

    def _load(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        saved = state_dict.get(STATE_KEY, {"steps": 0, "spikes": 0, "average": None})
        self.steps, self.spikes, self.average = saved["steps"], saved["spikes"], saved["average"]


def reset_moments(optimizer: Optimizer, *, every: int | None = 500, spike: float = math.inf) -> MomentReset:
    """Empty an optimizer's moments every so many steps, and after gradients far above their running norm.

    Moments and step counts go to zero, so that Adam's next step is a first step, with its bias corrections. A
    spike has already been stepped on when it is seen: emptying the moments keeps it from the steps after.
    With ``spike`` a GPU is waited for once a step.

    Differs from SPAM, which resets every 500 steps and warms the learning rate up over 150 steps after each: add a
    schedule for that. SPAM's other half, clipping against the second moment, is ``clip_coordinates``.

    Args:
        optimizer: Adam, AdamW, SGD with momentum, Muon, :class:`LayerwiseLR` or another that keeps ``exp_avg``,
            ``exp_avg_sq`` or ``momentum_buffer``.
        every: steps between resets; ``None`` for none.
        spike: global gradient norm, in running averages (of decay 0.99) of those before, from which it counts as
            a spike; infinity for none. A norm that is not finite is a spike then.

    Returns:
        the counts, and ``remove()`` to undo. They travel in ``optimizer.state_dict()``.

    Raises:
        UserError: ``every`` below 1 or ``spike`` not above 1.

    References:
        Huang et al. 2025, SPAM, arXiv 2501.06842.
    """
    if every is not None and every < 1:
        raise UserError(f"expected every at or above 1, got {every}; try every=500, or every=None")
    if not spike > 1.0:
        raise UserError(f"expected spike above 1, got {spike}; try spike=10.0")
    return MomentReset(bare(optimizer), every=every, spike=spike)


def empty_moments(optimizer: Optimizer) -> None:
    """Set an optimizer's moments and step counts to zero; everything else stays."""
    for state in optimizer.state.values():
        for key in _MOMENTS:
            held = state.get(key)
            if isinstance(held, Tensor):
                held.zero_()
            elif held is not None:
                state[key] = 0
