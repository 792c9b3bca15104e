"""Few bits, simulated in float32: FP16's range, and FP4 weights and activations. Run alone it does nothing."""

from collections.abc import Callable
from dataclasses import replace

import torch
from papers_trainings import Problem, State
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils import parametrize

FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Sizes of E2M1."""
BLOCK = 32
_LOSS_SCALE = 1024.0


def fp4(x: Tensor) -> Tensor:
    """Round to FP4 in blocks of 32 along the last axis, each scaled so that its largest entry is 6.

    Args:
        x: of any shape with at least one axis; a shorter last block has its own scale.
    """
    short = -x.shape[-1] % BLOCK
    blocks = nn.functional.pad(x, (0, short)).unflatten(-1, (-1, BLOCK))
    scale = blocks.abs().amax(-1, keepdim=True) / FP4[-1]
    unit = blocks / torch.where(scale > 0.0, scale, 1.0)
    size = unit.abs()
    apart = 0.5 + 0.5 * (size >= 2.0) + (size >= 4.0)  # of neighbouring numbers there
    rounded = (unit / apart).round() * apart * scale
    return rounded.flatten(-2)[..., : x.shape[-1]]


def fp16(x: Tensor) -> Tensor:
    """Round to FP16: beyond 65,504 is infinity, below 6e-8 nothing."""
    return x.half().float()


class _Fp4(Function):
    """FP4 forward, the gradient as it is backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return fp4(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


class _Fp16(Function):
    """FP16 both ways."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return fp16(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return fp16(grads[0])


class _Rounded(nn.Module):
    """A parametrization of weights."""

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._rounding = rounding

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights that the layer sees."""
        return self._rounding(weight)


def in_fp4(problem: Problem) -> Problem:
    """Round weights and inputs of every linear layer but the head, whose weights are the embedding's."""
    return _rounded(problem, lambda seed: _rounding(problem.make(seed), _Fp4.apply, head=False))


def in_fp16(problem: Problem) -> Problem:
    """Round weights, inputs and both their gradients in every linear layer, under a loss scaled by 1,024."""
    found = _rounded(problem, lambda seed: _rounding(problem.make(seed), _Fp16.apply, head=True))
    return replace(found, loss_scale=_LOSS_SCALE)


def _rounded(problem: Problem, make: Callable[[int], nn.Module]) -> Problem:
    """Replace the modules, and name the optimizer's state after their parameters."""

    def state() -> State:
        kept = problem.state()
        names = {name for name, _ in make(0).named_parameters()} if kept else set[str]()
        return {
            name if name in names else f"{name.removesuffix('weight')}parametrizations.weight.original": entries
            for name, entries in kept.items()
        }

    return replace(problem, make=make, state=state)


def _rounding(module: nn.Module, rounding: Callable[[Tensor], Tensor], *, head: bool) -> nn.Module:
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear) and (head or not name.endswith("head")):
            layer.register_forward_pre_hook(lambda _, inputs: (rounding(inputs[0]),))
            parametrize.register_parametrization(layer, "weight", _Rounded(rounding))
    return module
