"""Which uses of which parameter can be measured in one pass; the rest goes to the loop.

A pass over one example alone tells examples from everything else: where it left a side of length 1 and the whole batch
one of B, the examples lie along that side. Lengths alone would confuse 16 tokens with 16 examples.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import Node

from gnoise.collect.per_example.form import Form, Whole
from gnoise.collect.per_example.graph import Graph, Use, share
from gnoise.collect.per_example.layer_type import FormOf
from gnoise.collect.per_example.trace import Call, Trace

FormOfGrad = Callable[[Tensor], Form]


@dataclass(frozen=True)
class CallUse:
    """A parameter used by a layer, with examples along one side of input and output."""

    call: Call
    form: FormOf
    x_axis: int
    axis: int


@dataclass(frozen=True)
class SharedUse:
    """A layer called once for all examples (position ids of batch 1), its output then broadcast to each."""

    call: Call
    form: FormOf
    use: Use


@dataclass(frozen=True)
class DirectUse:
    """A parameter that enters a sum, a product or an expansion itself."""

    use: Use
    form: FormOfGrad


AnyUse = CallUse | SharedUse | DirectUse


@dataclass(frozen=True)
class Plan:
    """How to measure one parameter.

    Attributes:
        uses: all of the parameter's; empty where the loss does not depend on it.
        reshaped: whether its gradients come in another shape than its own.
    """

    uses: tuple[AnyUse, ...]
    reshaped: bool = False

    @property
    def direct(self) -> bool:
        """Whether the parameter is used without a layer."""
        return any(isinstance(use, DirectUse) for use in self.uses)


@dataclass(frozen=True)
class _UseLayout:
    signature: tuple[str, int]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _CallLayout:
    module: nn.Module
    x_shape: tuple[int, ...]
    shape: tuple[int, ...]
    holds: bool
    uses: tuple[_UseLayout, ...]


_Pair = tuple[str, _CallLayout, Call]


@dataclass(frozen=True)
class Layout:
    """What one example alone told, without the graph that told it, which would keep its activations.

    Attributes:
        calls: of known layers.
        direct: by ``id`` of a parameter, the shape in which it is used and the operations that use it.
    """

    calls: tuple[_CallLayout, ...]
    direct: Mapping[int, tuple[tuple[int, ...], tuple[_UseLayout, ...]]]

    @property
    def largest(self) -> tuple[int, ...]:
        """Shape of the largest output of a known layer."""
        return max((call.shape for call in self.calls), key=math.prod, default=())


def layout_of(one: Trace, parameters: Mapping[str, nn.Parameter]) -> Layout:
    """Summarise the trace of one example.

    Args:
        one: its trace.
        parameters: trainable ones, by name.
    """
    direct: dict[int, tuple[tuple[int, ...], tuple[_UseLayout, ...]]] = {}
    for tensor in parameters.values():
        leaf = one.graph.leaves.get(id(tensor))
        if leaf is not None:
            shape, uses = one.graph.broadcasts(leaf, tuple(tensor.shape))
            direct[id(tensor)] = shape, _layouts(uses)
    calls = tuple(
        _CallLayout(call.module, call.x_shape, call.shape, call.holds, _layouts(one.graph.uses(call.edge.node)))
        for call in one.calls
    )
    return Layout(calls, direct)


def plan(parameters: Mapping[str, nn.Parameter], one: Layout, batch: Trace, examples: int) -> dict[str, Plan | None]:
    """Plan every parameter.

    Args:
        parameters: trainable ones, by name.
        one: layout of one example.
        batch: trace of all.
        examples: how many those are.

    Returns:
        ``None`` for those that need the loop.
    """
    same_calls = [c.module for c in one.calls] == [c.module for c in batch.calls]
    pairs = list(zip(one.calls, batch.calls, strict=True)) if same_calls else []
    calls_of: dict[int, list[_Pair]] = {}
    chosen = batch.graph.chosen_from(call.edge.node for call in batch.calls)
    for alone, call in pairs:
        for local, tensor in call.parameters.items():
            if local in call.layer_type.forms and call.edge.node in batch.graph.nodes:
                calls_of.setdefault(id(tensor), []).append((local, alone, call))
    return {
        name: _plan_one(tensor, calls_of.get(id(tensor), []), one, batch.graph, examples, chosen)
        for name, tensor in parameters.items()
    }


def axis_of(shape: tuple[int, ...], alone: tuple[int, ...], examples: int) -> int | None:
    """Find the side along which the examples lie, by what one example alone leaves there."""
    if len(shape) != len(alone):
        return None
    differ = [axis for axis, (a, b) in enumerate(zip(shape, alone, strict=True)) if a != b]
    found = len(differ) == 1 and shape[differ[0]] == examples and alone[differ[0]] == 1
    return differ[0] if found else None


def _plan_one(
    tensor: nn.Parameter, calls: list[_Pair], one: Layout, batch: Graph, examples: int, chosen: set[Node]
) -> Plan | None:
    edges = batch.uses_of(tensor)
    if not edges or tensor.numel() == 0:
        return Plan(())
    if tensor.is_complex():
        return None
    if any(call.hooked or call.edge.node in chosen for _, _, call in calls):
        return None
    found = [_call(local, alone, call, batch, examples) for local, alone, call in calls]
    uses = tuple(use for use in found if use is not None)
    # Another number of edges than of calls: something beside the layers that were seen uses the parameter, too.
    seen_all = bool(calls) and len(uses) == len(found) and len(edges) == len(calls)
    return Plan(uses) if seen_all else _direct(tensor, one, batch, examples)


def _call(local: str, alone: _CallLayout, call: Call, batch: Graph, examples: int) -> AnyUse | None:
    form = call.layer_type.forms[local]
    if not alone.holds:
        return None
    if (call.x_shape, call.shape) == (alone.x_shape, alone.shape):
        return _shared(form, alone, call, batch, examples) if call.layer_type.is_lookup else None
    x_axis = axis_of(call.x_shape, alone.x_shape, examples)
    axis = axis_of(call.shape, alone.shape, examples)
    if x_axis is None or axis is None or (call.layer_type.examples_first and (x_axis, axis) != (0, 0)):
        return None
    return CallUse(call, form, x_axis, axis)


def _shared(form: FormOf, alone: _CallLayout, call: Call, batch: Graph, examples: int) -> SharedUse | None:
    uses = _broadcast(alone.uses, batch.uses(call.edge.node), examples)
    return SharedUse(call, form, uses[0]) if len(uses) == 1 else None


def _direct(tensor: nn.Parameter, one: Layout, batch: Graph, examples: int) -> Plan | None:
    leaf = batch.leaves.get(id(tensor))
    if leaf is None or id(tensor) not in one.direct:
        return None
    alone_shape, alone = one.direct[id(tensor)]
    shape, found = batch.broadcasts(leaf, tuple(tensor.shape))
    uses = _broadcast(alone, found, examples) if shape == alone_shape else []
    forms = tuple(DirectUse(use, _whole(use, shape)) for use in uses)
    return Plan(forms, reshaped=shape != tuple(tensor.shape)) if forms else None


def _broadcast(alone: tuple[_UseLayout, ...], uses: list[Use], examples: int) -> list[Use]:
    """Keep the uses if all of them broadcast a value over examples in a way that can be undone, else none."""
    if [use.signature for use in alone] != [use.signature for use in uses]:
        return []
    known = all(
        axis_of(use.shape, other.shape, examples) == 0 and share(use) is not None
        for use, other in zip(uses, alone, strict=True)
    )
    return uses if known else []


def _layouts(uses: list[Use]) -> tuple[_UseLayout, ...]:
    return tuple(_UseLayout(use.signature, use.shape) for use in uses)


def _whole(use: Use, shape: tuple[int, ...]) -> FormOfGrad:
    to_value = share(use)  # now: within a checkpoint what was saved can be had once in a backward pass
    if to_value is None:
        raise RuntimeError(f"{use.node.name()} was planned but cannot be shared")

    def form(grad: Tensor) -> Form:
        return Whole(to_value(grad, shape))

    return form
