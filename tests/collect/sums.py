"""What per-example gradients add up to, for the networks whose norms are tested."""

import torch
from torch import Tensor, nn

from gnoise.collect.per_example import LAYERS, Loss
from gnoise.collect.per_example.in_parts import in_parts
from gnoise.collect.per_example.layer_type import types_in
from gnoise.collect.per_example.layouts import Layouts
from gnoise.collect.per_example.loop import loop
from gnoise.collect.per_example.one_pass import Gradient, Job
from gnoise.collect.workload import Batch


def assert_adds_up(module: nn.Module, loss: Loss, batch: Batch, examples: int, *, tolerance: float = 1e-5) -> None:
    """Hold the weighted sum of per-example gradients to the batch's gradient, for every trainable parameter.

    The sum of what was measured in one pass is added up from the very factors that make the norms; what needs a pass
    per example is added up from those passes.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    weights = [1.0 / examples] * examples
    job = Job(module, loss, parameters, types_in(module, LAYERS))
    found = in_parts(job, batch, weights, Layouts(job).of(batch, examples), Gradient.SUMMED)
    rest = {name: p for name, p in parameters.items() if name not in found.sq_norms}
    looped = loop(module, loss, batch, rest, weights).weighted_sum if rest else {}
    sums: dict[str, Tensor] = {**found.grads, **looped}
    expected = torch.autograd.grad(
        loss(module, batch), list(parameters.values()), allow_unused=True, materialize_grads=True
    )
    size = float(torch.stack([grad.norm() for grad in expected]).norm())
    for (name, parameter), grad in zip(parameters.items(), expected, strict=True):
        got = sums.get(name, torch.zeros_like(parameter))
        error = float((got.double() - grad.double()).norm())
        assert error <= tolerance * float(grad.norm()) + 0.1 * tolerance * size, (name, error)
