"""Gradients on their way from the backward pass to the accounts of parameters."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from gnoise.collect.per_example.form import Form
from gnoise.collect.per_example.graph import share
from gnoise.collect.per_example.plan import AnyUse, CallUse, DirectUse, Plan, SharedUse
from gnoise.collect.per_example.trace import Call

Sink = Callable[[Tensor], None]
"""Takes the gradient of a layer's output."""

Add = Callable[[Form, float], None]
"""Takes a form, and the rounding unit of the gradient it came from."""


def lookups(plan: Plan, examples: int) -> dict[int, Int[Tensor, "B T"]]:
    """List the rows that each use of a parameter as a table looks up, known since the forward pass."""
    return {
        index: _examples_first(use, _input(use.call), examples).reshape(examples, -1)
        for index, use in enumerate(plan.uses)
        if not isinstance(use, DirectUse) and use.call.layer_type.is_lookup
    }


def feed(use: AnyUse, add: Add, sinks: dict[Call, list[Sink]], examples: int, scale: float) -> list[RemovableHandle]:
    """Connect one use of a parameter to its account.

    Args:
        use: where its gradient arises.
        add: the account.
        sinks: told the gradients of layers' outputs.
        examples: in the batch.
        scale: by which the loss is multiplied on its way back, and its gradients are divided here.

    Returns:
        handles of hooks set on the autograd graph.
    """
    match use:
        case CallUse():
            sinks.setdefault(use.call, []).append(lambda grad: _add_call(use, grad, add, examples, scale))
            return []
        case SharedUse() | DirectUse():
            return [use.use.node.register_prehook(lambda grads: _add_broadcast(use, grads[0], add, examples, scale))]


def _add_call(use: CallUse, grad: Tensor, add: Add, examples: int, scale: float) -> None:
    x = _input(use.call)
    if x._version != use.call.version:  # written over since: the account stays open, the loop takes over
        return
    grad_B = _wide(grad, scale).movedim(use.axis, 0)
    add(use.form(use.call.module, _like(_examples_first(use, x, examples), grad_B), grad_B), _rounding(grad))


def _add_broadcast(use: SharedUse | DirectUse, grad: Tensor, add: Add, examples: int, scale: float) -> None:
    if isinstance(use, DirectUse):
        add(use.form(_wide(grad, scale)), _rounding(grad))
        return
    to_value = share(use.use)
    if to_value is not None:
        grads_B = to_value(_wide(grad, scale), use.call.shape)
        x = _examples_first(use, _input(use.call), examples)
        add(use.form(use.call.module, x, grads_B), _rounding(grad))


def _examples_first(use: CallUse | SharedUse, x: Tensor, examples: int) -> Tensor:
    if isinstance(use, CallUse):
        return x.movedim(use.x_axis, 0)
    return x.reshape(1, -1).expand(examples, -1)


def _input(call: Call) -> Tensor:
    if call.x is None:
        raise RuntimeError("a layer's input was dropped before its gradient came")
    return call.x


def _wide(grad: Tensor, scale: float) -> Tensor:
    grad = grad.detach()
    grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
    return grad if scale == 1.0 else grad / scale


def _like(x: Tensor, grad: Tensor) -> Tensor:
    return x.to(grad.dtype) if x.is_floating_point() else x


def _rounding(grad: Tensor) -> float:
    return torch.finfo(grad.dtype).eps
