"""A batch in parts whose activations stay in reach of the cache; each part in one pass, all parts added up."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from gnoise.collect.per_example.batch import some_examples
from gnoise.collect.per_example.cost import examples_at_once
from gnoise.collect.per_example.losses import ExampleLosses
from gnoise.collect.per_example.one_pass import Gradient, Job, Pass, one_pass
from gnoise.collect.per_example.plan import Layout
from gnoise.collect.workload import Batch


def in_parts(job: Job, batch: Batch, weights: Sequence[float], layout: Layout, gradient: Gradient) -> Pass:
    """Measure what one pass over each part of a batch can measure.

    A part's mean loss counts for its share of the examples, so gradients add up to the batch's. Only a mean over
    examples can be split without knowing more of it, and only on a CPU is there anything to gain.

    Args:
        job: module, loss, parameters.
        batch: examples along dimension 0.
        weights: of each example in the batch's loss.
        layout: of one example.
        gradient: what becomes of the batch's gradient.
    """
    examples = len(weights)
    splits = job.on_cpu and all(weight == 1.0 / examples for weight in weights)
    parts = -(-examples // examples_at_once(layout.largest)) if splits else 1
    bounds = [examples * part // parts for part in range(parts + 1)]
    grads: dict[str, torch.Tensor] = {}
    found: list[Pass] = []
    for start, stop in pairwise(bounds):
        part = some_examples(batch, slice(start, stop), examples)
        share = (stop - start) / examples if parts > 1 else 1.0
        found.append(one_pass(job, part, weights[start:stop], layout, gradient, share=share, into=grads))
        grads = found[-1].grads
    return found[0] if parts == 1 else _joined(found, [b - a for a, b in pairwise(bounds)])


def _joined(found: Sequence[Pass], sizes: Sequence[int]) -> Pass:
    names = [name for name in found[0].sq_norms if all(name in x.sq_norms for x in found)]
    losses = [x.losses for x in found]
    return Pass(
        sq_norms={name: torch.cat([x.sq_norms[name] for x in found]) for name in names},
        methods={name: frozenset().union(*(x.methods[name] for x in found)) for name in names},
        grads=found[-1].grads,
        terms={name: math.hypot(*(x.terms[name] for x in found)) for name in found[0].terms},
        losses=_joined_losses([x for x in losses if x is not None], sizes) if None not in losses else None,
    )


def _joined_losses(losses: Sequence[ExampleLosses], sizes: Sequence[int]) -> ExampleLosses:
    shares = [x.weights * (size / sum(sizes)) for x, size in zip(losses, sizes, strict=True)]
    return ExampleLosses(torch.cat([x.of_each for x in losses]), torch.cat(shares))
