"""One forward and backward pass over a batch: each layer's per-example gradients are measured as they arise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from gnoise.collect.per_example.batch import Loss
from gnoise.collect.per_example.check import agrees, directions
from gnoise.collect.per_example.cost import Method
from gnoise.collect.per_example.feed import Sink, feed, lookups
from gnoise.collect.per_example.graph import Graph
from gnoise.collect.per_example.layer_type import LayerType
from gnoise.collect.per_example.ledger import Ledger
from gnoise.collect.per_example.loop import dense, sq_norm
from gnoise.collect.per_example.losses import ExampleLosses, example_losses
from gnoise.collect.per_example.plan import Layout, Plan, plan
from gnoise.collect.per_example.rounding import terms_of
from gnoise.collect.per_example.trace import Call, Trace, trace
from gnoise.collect.workload import Batch

_LARGEST_POWER = 15
"""Of two, in float16."""
_NOTHING: Mapping[str, Tensor] = {}


class Gradient(Enum):
    """What becomes of the batch's gradient."""

    NONE = auto()
    """Not computed: the products that would have made it make the norms."""
    SUMMED = auto()
    """Added up from the examples', as they are measured."""
    AUTOGRAD = auto()
    """Computed by autograd beside the norms, which are compared with it."""


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        module: the network.
        loss: (module, batch) to a scalar.
        parameters: to measure, by name.
        types: of the modules that hold them, where these are known.
    """

    module: nn.Module
    loss: Loss
    parameters: dict[str, nn.Parameter]
    types: dict[nn.Module, LayerType]

    @property
    def on_cpu(self) -> bool:
        """Whether everything measured lies on a CPU."""
        return all(tensor.device.type == "cpu" for tensor in self.parameters.values())


@dataclass(frozen=True)
class Pass:
    """What one pass over a batch gave.

    Attributes:
        sq_norms: per-example squared norms, of the parameters that it could measure.
        methods: by which they were measured.
        grads: the batch's gradient; empty where it was not asked for.
        terms: norms of what these are sums of, where autograd made them all.
        losses: each example's own; ``None`` where the loss function is none whose terms can be read.
    """

    sq_norms: dict[str, Tensor]
    methods: dict[str, frozenset[Method]]
    grads: dict[str, Tensor]
    terms: dict[str, float]
    losses: ExampleLosses | None


def one_pass(
    job: Job,
    batch: Batch,
    weights: Sequence[float],
    layout: Layout,
    gradient: Gradient,
    *,
    share: float = 1.0,
    into: Mapping[str, Tensor] = _NOTHING,
) -> Pass:
    """Measure what can be measured in one forward and backward pass.

    Where the loss contains gradients, that is nothing: those of a batch's mean are not those of its examples alone.

    Args:
        job: module, loss, parameters.
        batch: examples along dimension 0.
        weights: of each example in the batch's loss.
        layout: of one example.
        gradient: what becomes of the batch's gradient.
        share: by which the loss is multiplied, where this is a part of a larger batch.
        into: gradients of the parts before it, to which this part's are added, in place where that is possible.
    """
    sinks: dict[Call, list[Sink]] = {}
    begun, penalised = False, False

    def on_grad(call: Call, grad: Tensor) -> None:
        nonlocal penalised
        if not begun:  # a loss may differentiate on its way, and with create_graph=True contain what it found
            penalised = penalised or torch.is_grad_enabled()
            return
        for sink in sinks.get(call, []):
            sink(grad)
        call.x = None

    examples = len(weights)
    traced = trace(job.module, job.loss, batch, job.types, on_grad)
    losses = example_losses(traced.loss, examples)
    scale = _scale(traced.graph, weights)
    plans = {} if penalised else plan(job.parameters, layout, traced, examples)
    accounts = _open(job, plans, examples, gradient, into)
    handles = [call.handle for call in traced.calls if call.handle is not None]
    for name, ledger in accounts.ledgers.items():
        for index, use in enumerate(accounts.plans[name].uses):
            handles.extend(feed(use, partial(ledger.add, index), sinks, examples, scale))
    begun = True
    checked = gradient is Gradient.AUTOGRAD
    try:
        with terms_of(traced.graph, job.parameters if checked else {}, scale=scale) as terms:
            grads = _backward(job, traced, accounts, gradient, share=share, scale=scale)
    finally:
        for handle in handles:
            handle.remove()
    good = _agreeing(accounts, grads, terms) if checked else set(accounts.ledgers)
    sq_norms, methods = _close(job, accounts, weights, good)
    summed = {name: into[name] + grad if name in into else grad for name, grad in grads.items()}
    summed |= {name: ledger.total for name, ledger in accounts.ledgers.items() if ledger.total is not None}
    return Pass(sq_norms, methods, summed, terms, losses)


@dataclass(frozen=True)
class _Accounts:
    """The parameters that the pass can measure: by which uses, in which ledger, checked along which direction."""

    plans: dict[str, Plan]
    ledgers: dict[str, Ledger]
    toward: dict[str, Tensor]


def _open(
    job: Job, plans: Mapping[str, Plan | None], examples: int, gradient: Gradient, into: Mapping[str, Tensor]
) -> _Accounts:
    planned = {name: how for name, how in plans.items() if how is not None}
    toward = directions(job.parameters) if gradient is Gradient.AUTOGRAD else {}
    ledgers: dict[str, Ledger] = {}
    for name, how in planned.items():
        if how.uses:
            tensor = job.parameters[name].detach()
            summed = gradient is Gradient.SUMMED and not how.direct
            before = into.get(name)
            total = (_zeros(tensor) if before is None else before) if summed else None
            along = None if how.reshaped else toward.get(name)
            ledgers[name] = Ledger(len(how.uses), lookups(how, examples), along, total)
    return _Accounts(planned, ledgers, toward)


def _scale(graph: Graph, weights: Sequence[float]) -> float:
    r"""Choose a power of two to multiply the loss with on its way back.

    Where float16 takes part, $w_i g_i$ of a large batch would vanish in it though $g_i$ does not. Multiplied to about
    the size of $g_i$, gradients have the digits that one backward pass per example has.
    """
    if torch.float16 not in graph.dtypes:
        return 1.0
    return 2.0 ** min(max(math.floor(-math.log2(max(weights))), 0), _LARGEST_POWER)


def _backward(
    job: Job, traced: Trace, accounts: _Accounts, gradient: Gradient, *, share: float, scale: float
) -> dict[str, Tensor]:
    """Run the backward pass no further than is needed; return the gradients that autograd made."""
    asked = dict(job.parameters)
    if gradient is not Gradient.AUTOGRAD:  # what layers hold is found on the way to the first of them
        asked = {n: x for n, x in asked.items() if n not in accounts.plans or accounts.plans[n].direct}
    asked = {name: tensor for name, tensor in asked.items() if traced.graph.uses_of(tensor)}
    ends = [call.edge for call in traced.calls if call.edge.node in traced.graph.nodes]
    later = traced.graph.after(edge.node for edge in ends)
    ends = [edge for edge in ends if edge.node not in later]
    edges = [get_gradient_edge(tensor) for tensor in asked.values()]
    factor = share * scale
    # A factor in the graph, not in grad_outputs: to check the shape of those, torch imports SymPy, half a second long.
    loss = traced.loss if factor == 1.0 else traced.loss * factor
    found = torch.autograd.grad([loss], [*edges, *ends], allow_unused=True)
    if gradient is Gradient.NONE:
        return {}
    grads = {name: dense(grad, tensor) for (name, tensor), grad in zip(asked.items(), found, strict=False)}
    grads = {name: grad.to(_wide(grad)) for name, grad in grads.items()}  # for parts of a batch are added up
    return grads if scale == 1.0 else {name: grad / scale for name, grad in grads.items()}


def _agreeing(accounts: _Accounts, grads: Mapping[str, Tensor], terms: Mapping[str, float]) -> set[str]:
    """Name the parameters whose account sums up to their gradient in the batch."""
    size = sum(float(sq_norm(grad)) for grad in grads.values()) ** 0.5
    return {
        name
        for name, ledger in accounts.ledgers.items()
        if ledger.complete and agrees(ledger, grads[name], accounts.toward[name], size=size, terms=terms[name])
    }


def _close(
    job: Job, accounts: _Accounts, weights: Sequence[float], good: set[str]
) -> tuple[dict[str, Tensor], dict[str, frozenset[Method]]]:
    """Close every account; the loop takes what is incomplete, cancels, or is not good."""
    sq_norms: dict[str, Tensor] = {}
    methods: dict[str, frozenset[Method]] = {}
    squares = torch.tensor(weights, dtype=torch.float64).square()
    divisors = cache(lambda dtype, device: squares.to(device, dtype))  # a copy to a GPU waits for all that it has to do
    for name, how in accounts.plans.items():
        tensor = job.parameters[name]
        if not how.uses:
            sq_norms[name] = torch.zeros(len(weights), dtype=_wide(tensor), device=tensor.device)
            methods[name] = frozenset({Method.UNUSED})
            continue
        ledger = accounts.ledgers[name]
        if ledger.complete and name in good:
            shares = ledger.sq_norms()
            if shares is not None:
                sq_norms[name] = shares / divisors(shares.dtype, shares.device)
                methods[name] = frozenset(ledger.methods)
    return sq_norms, methods


def _zeros(tensor: Tensor) -> Tensor:
    """Make room for a gradient; contiguous however the parameter is stored, for it is added to as a matrix."""
    return torch.zeros_like(tensor, dtype=_wide(tensor), memory_format=torch.contiguous_format)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
