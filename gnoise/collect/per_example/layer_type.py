"""What the registry knows of one type of layer."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnoise.collect.per_example.form import Form

FormOf = Callable[[nn.Module, Tensor, Tensor], Form]
"""(module, its input, the gradient of its output), examples along dimension 0 of both, to a form."""


def always(module: nn.Module, x: Tensor, output: Tensor) -> bool:
    """Trust the class: its forward is torch's own."""
    return True


@dataclass(frozen=True)
class LayerType:
    """How the parameters of one type of layer get their gradients.

    Attributes:
        matches: whether a module is of this type, by its class and settings.
        forms: a function for each parameter the type has.
        examples_first: whether the layer itself fixes examples as dimension 0.
        is_lookup: whether its input is row numbers, known before the backward pass.
        holds: compares what a module did to one example with what the type says it does, for types recognised by
            name alone; asked of the module and of a copy with other weights.
    """

    matches: Callable[[nn.Module], bool]
    forms: Mapping[str, FormOf]
    examples_first: bool = False
    is_lookup: bool = False
    holds: Callable[[nn.Module, Tensor, Tensor], bool] = always


def runs(module: nn.Module, *classes: type[nn.Module]) -> bool:
    """Say whether a module computes what one of these classes computes: subclasses may have another forward."""
    return not is_patched(module) and any(isinstance(module, x) and type(module).forward is x.forward for x in classes)


def is_patched(module: nn.Module) -> bool:
    """Say whether this one module was given a forward that is not its class's."""
    return "forward" in vars(module)


@torch.no_grad()
def holds(
    layer_type: LayerType,
    module: nn.Module,
    x: Tensor,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    output: Tensor,
) -> bool:
    """Ask whether a module does what its type says: with its own weights, and a copy of it with others.

    At zeros or ones a weight, its square and its exponential look alike.

    Args:
        layer_type: what is asked.
        module: that was called.
        x: with this input.
        args: of the call, the input among them.
        kwargs: likewise.
        output: what it returned.
    """
    if layer_type.holds is always:
        return True
    copied = _with_other_weights(module)
    try:
        again = copied.forward(*map(_copy, args), **{name: _copy(value) for name, value in kwargs.items()})
    except Exception:  # noqa: BLE001  the class's own code may raise anything; the loop asks less of it
        return False
    return layer_type.holds(module, x, output) and layer_type.holds(copied, x, again)


def _with_other_weights(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    drawn = {
        name: nn.Parameter(torch.randn(tensor.shape, generator=generator).to(tensor), requires_grad=False)
        for name, tensor in module.named_parameters(recurse=False)
    }
    copied = copy.copy(module)
    vars(copied)["_parameters"] = {**vars(module)["_parameters"], **drawn}
    return copied


def _copy(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) else value


def types_in(module: nn.Module, layers: Sequence[LayerType]) -> dict[nn.Module, LayerType]:
    """Find the first type that matches each module with trainable parameters of its own."""
    found = {
        child: next((x for x in layers if x.matches(child)), None)
        for child in module.modules()
        if any(tensor.requires_grad for tensor in child.parameters(recurse=False))
    }
    return {child: layer_type for child, layer_type in found.items() if layer_type is not None}
