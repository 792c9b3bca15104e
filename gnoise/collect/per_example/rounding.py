"""How nearly two ways to one gradient must agree, given the precision they were computed in."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from gnoise.collect.per_example.graph import Graph
from gnoise.collect.per_example.loop import norm

RELATIVE_TOLERANCE = 1e-3
_UNITS = 8


def close(difference: float, a: float, b: float, *, size: float, rounding: float, terms: float) -> bool:
    """Say whether two gradients differ by no more than rounding, or are nothing else.

    Args:
        difference: norm of it.
        a: norm of the one.
        b: norm of the other.
        size: norm of the whole model's gradient, against which rounding is judged. Zero where the whole itself is
            compared.
        rounding: unit of the coarsest numbers on the way.
        terms: norm of what the gradients are sums of. Some sums are zero but for rounding (the bias of attention keys),
            and no two ways to such a gradient agree.
    """
    unit = _UNITS * rounding
    nothing_else = max(a, b) <= unit * terms
    return nothing_else or difference <= max(RELATIVE_TOLERANCE, unit) * max(a, b) + unit * size


def advice(rounding: float) -> str:
    """Name what else may be the matter where two ways disagree in half precision."""
    if rounding <= torch.finfo(torch.float32).eps:
        return ""
    return ", or float32: some of torch's sums over many half-precision tokens lose their digits on a CPU"


@contextmanager
def terms_of(graph: Graph, parameters: Mapping[str, nn.Parameter], *, scale: float = 1.0) -> Iterator[dict[str, float]]:
    """Measure what parameters' gradients are sums of, in the backward pass made meanwhile.

    Args:
        graph: to go back through.
        parameters: by name.
        scale: by which the loss is multiplied in that pass.

    Yields:
        for each parameter the norm of the gradients of all that uses it; complete at the end.
    """
    found = dict.fromkeys(parameters, 0.0)

    def adder(names: list[str]) -> Callable[[tuple[Tensor | None, ...]], None]:
        def add(grads: tuple[Tensor | None, ...]) -> None:
            here = math.hypot(*(float(norm(grad.detach())) / scale for grad in grads if grad is not None))
            for name in names:
                found[name] = math.hypot(found[name], here)

        return add

    users: dict[Node, list[str]] = {}
    for name, tensor in parameters.items():
        for use in graph.uses_of(tensor):
            users.setdefault(use.node, []).append(name)
    handles = [node.register_prehook(adder(names)) for node, names in users.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
