"""One pass over one example to learn the layout, one over the batch to measure, one per example for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils.hooks import RemovableHandle

from gnoise.collect.per_example.batch import Loss, count_examples, one_example
from gnoise.collect.per_example.check import agrees, check_one_example, check_sums, directions
from gnoise.collect.per_example.cost import Method
from gnoise.collect.per_example.feed import Sink, feed, lookups
from gnoise.collect.per_example.layer_type import LayerType
from gnoise.collect.per_example.ledger import Ledger
from gnoise.collect.per_example.loop import dense_grads, loop, sq_norm
from gnoise.collect.per_example.norms import BATCH_NORMS
from gnoise.collect.per_example.plan import DirectUse, Layout, Plan, layout_of, plan
from gnoise.collect.per_example.surroundings import eval_mode, forked, random_state, run_eagerly
from gnoise.collect.per_example.trace import Call, Trace, trace
from gnoise.collect.workload import Batch
from gnoise.errors import UserError


@dataclass(frozen=True)
class Measured:
    """Norms, and how they were come by.

    Attributes:
        sq_norms: of each example's own gradient, by parameter.
        methods: several for a parameter used in several ways.
    """

    sq_norms: dict[str, Float[Tensor, " examples"]]
    methods: dict[str, frozenset[Method]]


def measure(
    module: nn.Module,
    loss: Loss,
    batch: Batch,
    *,
    layers: Sequence[LayerType],
    example_weights: Sequence[float] | Tensor | None = None,
    check: bool = True,
) -> Measured:
    """Measure per-example squared norms and say by which method; see ``per_example_sq_norms``.

    Args:
        module: the network.
        loss: (module, batch) to a scalar.
        batch: examples along dimension 0.
        layers: types of layers to measure in one pass; with none, everything goes through the loop.
        example_weights: of each example in the batch's loss; 1/B by default.
        check: compare with the batch's gradient and with the first example alone.

    Raises:
        UserError: see ``per_example_sq_norms``.
    """
    examples = count_examples(batch)
    weights = _weights(example_weights, examples)
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    _refuse_mixing_layers(module)
    job = _Job(module, loss, batch, parameters, weights, _types(module, layers))
    with run_eagerly(module):
        return _measure(job, check=check)


@dataclass(frozen=True)
class _Job:
    module: nn.Module
    loss: Loss
    batch: Batch
    parameters: dict[str, nn.Parameter]
    weights: list[float]
    types: dict[nn.Module, LayerType]


def _measure(job: _Job, *, check: bool) -> Measured:
    examples = len(job.weights)
    names, tensors = list(job.parameters), list(job.parameters.values())
    with forked(tensors):
        before = random_state(tensors)
        one = trace(job.module, job.loss, one_example(job.batch, 0, examples), job.types)
        draws = any(not torch.equal(a, b) for a, b in zip(before, random_state(tensors), strict=True))
    if check and draws and any(child.training for child in job.module.modules()):
        with eval_mode(job.module), forked(tensors):
            _measure(job, check=True)
    alone: dict[str, Tensor] | None = None
    if check and not draws:
        alone = {name: sq_norm(g) for name, g in zip(names, dense_grads(one.loss, tensors), strict=True)}
    layout = layout_of(one, job.parameters)
    del one  # and with it the activations behind its graph
    found = _one_pass(job, layout, check=check)
    sq_norms, methods = dict(found.sq_norms), dict(found.methods)
    rest = {name: job.parameters[name] for name in names if name not in sq_norms}
    if rest:
        with forked(tensors):
            looped = loop(job.module, job.loss, job.batch, rest, job.weights)
        sq_norms |= looped.sq_norms
        methods |= dict.fromkeys(rest, frozenset({Method.LOOP}))
        if found.grads is not None and not draws:
            check_sums(looped.weighted_sum, found.grads)
    if alone is not None:
        check_one_example({name: sq_norms[name][0] for name in names}, alone, examples, found.rounding)
    return Measured({name: sq_norms[name] for name in names}, {name: methods[name] for name in names})


@dataclass(frozen=True)
class _Pass:
    """What one pass over the batch gave: norms of all parameters that it could measure."""

    sq_norms: dict[str, Tensor]
    methods: dict[str, frozenset[Method]]
    grads: dict[str, Tensor] | None
    rounding: float


def _one_pass(job: _Job, one: Layout, *, check: bool) -> _Pass:
    examples = len(job.weights)
    sinks: dict[Call, list[Sink]] = {}

    def on_grad(call: Call, grad: Tensor) -> None:
        for sink in sinks.get(call, []):
            sink(grad)
        call.x = None

    batch = trace(job.module, job.loss, job.batch, job.types, on_grad)
    handles: list[RemovableHandle] = list(batch.handles)
    plans = plan(job.parameters, one, batch, examples)
    toward = directions(job.parameters) if check else {}
    ledgers: dict[str, Ledger] = {}
    for name, how in plans.items():
        if how is not None and how.uses:
            ledgers[name] = Ledger(len(how.uses), lookups(how, examples), None if how.reshaped else toward.get(name))
            for index, use in enumerate(how.uses):
                handles.extend(feed(use, partial(ledgers[name].add, index), sinks, examples))
    try:
        grads = _backward(job, batch, plans, check=check) if check or ledgers else None
    finally:
        for handle in handles:
            handle.remove()
    return _close(job, plans, ledgers, grads, toward)


def _backward(job: _Job, batch: Trace, plans: Mapping[str, Plan | None], *, check: bool) -> dict[str, Tensor] | None:
    """Run the backward pass; without the check, no further than the gradients of layers' outputs."""
    if check:
        grads = dense_grads(batch.loss, list(job.parameters.values()))
        return dict(zip(job.parameters, grads, strict=True))
    by_calls = {
        name
        for name, how in plans.items()
        if how is not None and all(not isinstance(use, DirectUse) for use in how.uses)
    }
    ends = [call.edge for call in batch.calls if call.first and call.edge.node in batch.graph.nodes]
    rest = [
        get_gradient_edge(tensor)
        for name, tensor in job.parameters.items()
        if name not in by_calls and batch.graph.uses_of(tensor)
    ]
    torch.autograd.grad([batch.loss], [*ends, *rest], allow_unused=True)
    return None


def _close(
    job: _Job,
    plans: Mapping[str, Plan | None],
    ledgers: Mapping[str, Ledger],
    grads: dict[str, Tensor] | None,
    toward: Mapping[str, Tensor],
) -> _Pass:
    """Close every account; one that is incomplete, or whose sum is not the batch's gradient, is left to the loop."""
    weights = torch.tensor(job.weights, dtype=torch.float64)
    sq_norms: dict[str, Tensor] = {}
    methods: dict[str, frozenset[Method]] = {}
    for name, how in plans.items():
        tensor = job.parameters[name]
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        if how is not None and not how.uses:
            sq_norms[name] = torch.zeros(len(weights), dtype=dtype, device=tensor.device)
            methods[name] = frozenset({Method.UNUSED})
    good = {name: ledger for name, ledger in ledgers.items() if ledger.complete}
    if grads is not None:
        size = _size(grads)
        good = {name: x for name, x in good.items() if agrees(x, grads[name], toward[name], size)}
    for name, ledger in good.items():
        shares = ledger.sq_norms()
        sq_norms[name] = shares / weights.to(shares).square()
        methods[name] = frozenset(ledger.methods)
    return _Pass(sq_norms, methods, grads, max((x.rounding for x in ledgers.values()), default=0.0))


def _size(grads: Mapping[str, Tensor]) -> float:
    return float(sum(float(sq_norm(grad)) for grad in grads.values())) ** 0.5


def _weights(example_weights: Sequence[float] | Tensor | None, examples: int) -> list[float]:
    if example_weights is None:
        return [1.0 / examples] * examples
    weights = [float(x) for x in example_weights]
    if len(weights) != examples or not all(0 < x < float("inf") for x in weights):
        raise UserError(
            f"expected {examples} positive example weights, got {len(weights)} with the smallest "
            f"{min(weights, default=float('nan')):.3g}; try leaving out examples without weight"
        )
    return weights


def _types(module: nn.Module, layers: Sequence[LayerType]) -> dict[nn.Module, LayerType]:
    """Find the first type that matches each module with trainable parameters of its own."""
    found = {
        child: next((x for x in layers if x.matches(child)), None)
        for child in module.modules()
        if any(tensor.requires_grad for tensor in child.parameters(recurse=False))
    }
    return {child: layer_type for child, layer_type in found.items() if layer_type is not None}


def _refuse_mixing_layers(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if isinstance(child, BATCH_NORMS) and child.training:
            raise UserError(
                f"expected layers that keep examples apart, got batch normalisation in training mode ({name}); try "
                f"module.get_submodule({name!r}).eval()"
            )
