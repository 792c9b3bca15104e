"""One pass over one example to learn the layout, one over the batch to measure, one per example for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnoise.collect.per_example.batch import Loss, count_examples, one_example
from gnoise.collect.per_example.check import check_one_example, check_sums
from gnoise.collect.per_example.cost import Method
from gnoise.collect.per_example.layer_type import LayerType, types_in
from gnoise.collect.per_example.loop import dense_grads, loop, sq_norm
from gnoise.collect.per_example.norms import BATCH_NORMS
from gnoise.collect.per_example.one_pass import Gradient, Job, one_pass
from gnoise.collect.per_example.plan import layout_of
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
    examples = count_examples(batch)
    weights = _weights(example_weights, examples)
    parameters = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    _refuse_mixing_layers(module)
    job = Job(module, loss, parameters, types_in(module, layers))
    with run_eagerly(module):
        return _measure(job, batch, weights, check=check)


def _measure(job: Job, batch: Batch, weights: Sequence[float], *, check: bool) -> Measured:
    names, tensors = list(job.parameters), list(job.parameters.values())
    with forked(tensors):
        before = random_state(tensors)
        one = trace(job.module, job.loss, one_example(batch, 0, len(weights)), job.types)
        draws = any(not torch.equal(a, b) for a, b in zip(before, random_state(tensors), strict=True))
    if check and draws and any(child.training for child in job.module.modules()):
        with eval_mode(job.module), forked(tensors):
            _measure(job, batch, weights, check=True)
    alone: dict[str, Tensor] | None = None
    if check and not draws:
        alone = {name: sq_norm(g) for name, g in zip(names, dense_grads(one.loss, tensors), strict=True)}
    layout = layout_of(one, job.parameters)
    del one  # and with it the activations behind its graph
    found = one_pass(job, batch, weights, layout, Gradient.AUTOGRAD if check else Gradient.NONE)
    sq_norms, methods = dict(found.sq_norms), dict(found.methods)
    rest = {name: job.parameters[name] for name in names if name not in sq_norms}
    if rest:
        with forked(tensors):
            looped = loop(job.module, job.loss, batch, rest, weights)
        sq_norms |= looped.sq_norms
        methods |= dict.fromkeys(rest, frozenset({Method.LOOP}))
        if check and not draws:
            check_sums(looped.weighted_sum, found.grads)
    if alone is not None:
        check_one_example({name: sq_norms[name][0] for name in names}, alone, len(weights), found.rounding)
    return Measured({name: sq_norms[name] for name in names}, {name: methods[name] for name in names})


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


def _refuse_mixing_layers(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if isinstance(child, BATCH_NORMS) and child.training:
            raise UserError(
                f"expected layers that keep examples apart, got batch normalisation in training mode ({name}); try "
                f"module.get_submodule({name!r}).eval()"
            )
