"""One forward pass with the calls of known layers written down."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from gnoise.collect.per_example.batch import Loss, scalar_loss
from gnoise.collect.per_example.graph import Graph, graph_of
from gnoise.collect.per_example.layer_type import LayerType, holds
from gnoise.collect.workload import Batch

OnGrad = Callable[["Call", Tensor], None]


@dataclass(eq=False)
class Call:
    """One call of a known layer.

    Attributes:
        module: that was called.
        parameters: that it held then; ``torch.func.functional_call`` lends it others.
        layer_type: what is known of it.
        x: its input, until it is no longer needed.
        version: of the input when it was read: a later write in place would show.
        edge: where the gradient of its output arrives.
        x_shape: of the input.
        shape: of the output.
        holds: whether the module did what its type says.
        handle: of the hook that is told the gradient of its output.
    """

    module: nn.Module
    parameters: Mapping[str, Tensor]
    layer_type: LayerType
    x: Tensor | None
    version: int
    edge: GradientEdge
    x_shape: tuple[int, ...]
    shape: tuple[int, ...]
    holds: bool
    handle: RemovableHandle | None = None

    @property
    def hooked(self) -> bool:
        """Whether the loss's own code hooked the output as well, and so changes the gradient after we have seen it."""
        hooks = None if self.handle is None else self.handle.hooks_dict_ref()
        return hooks is not None and len(hooks) > 1


@dataclass(frozen=True)
class Trace:
    """What one forward pass left.

    Attributes:
        loss: the scalar.
        calls: of known layers, in order.
        graph: behind the loss; until the calls' hooks are removed, it and they keep each other alive.
    """

    loss: Tensor
    calls: list[Call]
    graph: Graph


@dataclass
class _Recorder:
    on_grad: OnGrad | None
    calls: list[Call] = field(default_factory=list)

    def note(self, layer_type: LayerType) -> Callable[..., None]:
        """Make the forward hook for modules of one type."""

        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object) -> None:
            x = args[0] if args else next(iter(kwargs.values()), None)
            if not (isinstance(x, Tensor) and isinstance(output, Tensor) and output.requires_grad):
                return
            call = Call(
                module=module,
                parameters=dict(module.named_parameters(recurse=False)),
                layer_type=layer_type,
                x=x.detach(),
                version=x._version,
                edge=get_gradient_edge(output),
                x_shape=tuple(x.shape),
                shape=tuple(output.shape),
                holds=self.on_grad is not None or holds(layer_type, module, x, args, kwargs, output),
            )
            self.calls.append(call)
            if self.on_grad is None:
                call.x = None
            else:
                call.handle = output.register_hook(_bind(self.on_grad, call))

        return hook


def trace(
    module: nn.Module, loss: Loss, batch: Batch, types: Mapping[nn.Module, LayerType], on_grad: OnGrad | None = None
) -> Trace:
    """Run the loss once and note which layers were called with what.

    Args:
        module: the network.
        loss: (module, batch) to a scalar.
        batch: what to run it on.
        types: of the modules to watch.
        on_grad: told the gradient of each call's output when it arrives; without it, inputs are not kept and each
            layer's output is compared with its type's definition instead.
    """
    recorder = _Recorder(on_grad)
    with _hooked(types, recorder), torch.enable_grad():
        value = scalar_loss(loss(module, batch))
    return Trace(value, recorder.calls, graph_of(value))


@contextmanager
def _hooked(types: Mapping[nn.Module, LayerType], recorder: _Recorder) -> Iterator[None]:
    """Watch modules, ahead of hooks that change their output; what checkpointing runs again later is not watched."""
    handles = [
        module.register_forward_hook(recorder.note(layer_type), prepend=True, with_kwargs=True)
        for module, layer_type in types.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _bind(on_grad: OnGrad, call: Call) -> Callable[[Tensor], None]:
    return lambda grad: on_grad(call, grad)
