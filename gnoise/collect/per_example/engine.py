"""One pass over one example to learn the layout, one over the batch to measure, one per example for the rest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnoise.collect.per_example.batch import Loss, count_examples, one_example, scalar_loss
from gnoise.collect.per_example.check import Alone, check_one_example, check_sums, differentiate_alone
from gnoise.collect.per_example.cost import Method, prefers_loop
from gnoise.collect.per_example.graph import graph_of
from gnoise.collect.per_example.in_parts import in_parts
from gnoise.collect.per_example.layer_type import LayerType, types_in
from gnoise.collect.per_example.layouts import Layouts
from gnoise.collect.per_example.loop import Looped, loop
from gnoise.collect.per_example.mixing import refuse_mixing
from gnoise.collect.per_example.one_pass import Gradient, Job, Pass
from gnoise.collect.per_example.plan import Layout, layout_of
from gnoise.collect.per_example.surroundings import eval_mode, forked, random_state, run_eagerly
from gnoise.collect.per_example.trace import trace
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
    job = _job(module, loss, layers)
    weights = _weights(example_weights, count_examples(batch))
    with run_eagerly():
        if check:
            return _checked(job, batch, weights)
        layout = Layouts(job).of(batch, len(weights))
        return _measured(job, batch, weights, layout, _hooked(job))


def measure_all(
    module: nn.Module, loss: Loss, batches: Iterable[Batch], *, layers: Sequence[LayerType], check: bool = True
) -> Iterator[Measured]:
    """Measure batch after batch, the first with the self-check; see ``stream_per_example_sq_norms``.

    Args:
        module: the network.
        loss: (module, batch) to the mean loss over examples.
        batches: examples along dimension 0.
        layers: types of layers to measure in one pass.
        check: compare the first batch with its gradient and with its first example alone.

    Raises:
        UserError: see ``per_example_sq_norms``.
    """
    job = _job(module, loss, layers)
    layouts, one_by_one = Layouts(job), _hooked(job)
    for number, batch in enumerate(batches):
        weights = _weights(None, count_examples(batch))
        with run_eagerly():
            if check and number == 0:
                found = _checked(job, batch, weights)
                one_by_one = frozenset(
                    name for name, methods in found.methods.items() if methods == frozenset({Method.LOOP})
                )
            else:
                found = _measured(job, batch, weights, layouts.of(batch, len(weights)), one_by_one)
        yield found


def _job(module: nn.Module, loss: Loss, layers: Sequence[LayerType]) -> Job:
    refuse_mixing(module)
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    return Job(module, loss, parameters, types_in(module, layers))


def _hooked(job: Job) -> frozenset[str]:
    """Name the parameters whose gradient a hook may change, which only a pass per example shows."""
    return frozenset(name for name, tensor in job.parameters.items() if tensor._backward_hooks)


def _measured(
    job: Job, batch: Batch, weights: Sequence[float], layout: Layout, one_by_one: frozenset[str] = frozenset()
) -> Measured:
    """Measure without looking whether it is right; what did not pass a check before goes through the loop."""
    if job.on_cpu and prefers_loop(layout.largest):
        return _joined(job, None, _looped(job, batch, weights, job.parameters))
    found = in_parts(job, batch, weights, layout, Gradient.NONE)
    kept = {name: found.methods[name] for name in found.methods if name not in one_by_one}
    found = replace(found, sq_norms={name: x for name, x in found.sq_norms.items() if name in kept}, methods=kept)
    return _joined(job, found, _looped(job, batch, weights, _left_by(found, job)))


def _checked(job: Job, batch: Batch, weights: Sequence[float]) -> Measured:
    """Measure, and compare with the batch's gradient and with the first example alone."""
    tensors = list(job.parameters.values())
    with forked(tensors):
        before = random_state(tensors)
        one = trace(job.module, job.loss, one_example(batch, 0, len(weights)), job.types)
        draws = any(not torch.equal(a, b) for a, b in zip(before, random_state(tensors), strict=True))
    if draws and any(child.training for child in job.module.modules()):
        with eval_mode(job.module), forked(tensors):
            _checked(job, batch, weights)
    alone = None if draws else differentiate_alone(one.loss, one.graph, job.parameters)
    layout, rounding = layout_of(one, job.parameters), one.graph.rounding
    del one  # and with it the activations behind its graph
    found = in_parts(job, batch, weights, layout, Gradient.AUTOGRAD)
    looped = _looped(job, batch, weights, _left_by(found, job))
    if not draws:
        check_sums(looped.weighted_sum, found.grads, rounding, found.terms)
    measured = _joined(job, found, looped)
    if alone is not None:
        _check_place(measured, 0, alone, rounding, "first")
        if len(weights) > 1:
            with forked(tensors):
                value = scalar_loss(job.loss(job.module, one_example(batch, len(weights) - 1, len(weights))))
            last = differentiate_alone(value, graph_of(value), job.parameters)
            _check_place(measured, -1, last, rounding, "last")
    return measured


def _check_place(measured: Measured, place: int, alone: Alone, rounding: float, which: str) -> None:
    got = {name: x[place] for name, x in measured.sq_norms.items()}
    examples = len(next(iter(measured.sq_norms.values()), ()))
    check_one_example(got, alone, examples, rounding, which=which)


def _left_by(found: Pass, job: Job) -> dict[str, nn.Parameter]:
    return {name: tensor for name, tensor in job.parameters.items() if name not in found.sq_norms}


def _looped(job: Job, batch: Batch, weights: Sequence[float], parameters: dict[str, nn.Parameter]) -> Looped:
    if not parameters:
        return Looped({}, {})
    with forked(list(job.parameters.values())):
        return loop(job.module, job.loss, batch, parameters, weights)


def _joined(job: Job, found: Pass | None, looped: Looped) -> Measured:
    sq_norms = looped.sq_norms | ({} if found is None else found.sq_norms)
    methods = dict.fromkeys(looped.sq_norms, frozenset({Method.LOOP})) | ({} if found is None else found.methods)
    return Measured({name: sq_norms[name] for name in job.parameters}, {n: methods[n] for n in job.parameters})


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
