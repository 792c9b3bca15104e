r"""The self-check: $\sum_i w_i g_i$ is the batch's gradient, and the norms found are those of two examples alone.

The first catches what is missing or counted twice; the first and the last example alone, a loss that weighs examples
otherwise than said and layers that mix them or change their order. Neither needs per-example gradients: sums are
compared through their product with one random vector, which two different matrices share with probability zero.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnoise.collect.per_example.graph import Graph
from gnoise.collect.per_example.ledger import Ledger
from gnoise.collect.per_example.loop import dense_grads, sq_norm
from gnoise.collect.per_example.rounding import advice, close, terms_of
from gnoise.errors import unreadable

_SEED = 0


@dataclass(frozen=True)
class Alone:
    """One example's loss, differentiated by itself.

    Attributes:
        sq_norms: of the gradient, by parameter.
        terms: norms of what each parameter's gradient is a sum of.
    """

    sq_norms: dict[str, Tensor]
    terms: dict[str, float]


def differentiate_alone(loss: Tensor, graph: Graph, parameters: Mapping[str, nn.Parameter]) -> Alone:
    """Differentiate one example's loss, whose graph this is."""
    with terms_of(graph, parameters) as terms:
        grads = dense_grads(loss, list(parameters.values()))
    return Alone({name: sq_norm(grad) for name, grad in zip(parameters, grads, strict=True)}, terms)


def directions(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Draw a vector for each parameter seen as a matrix; always the same, without touching the global generator."""
    generator = torch.Generator().manual_seed(_SEED)
    found: dict[str, Tensor] = {}
    for name, tensor in parameters.items():
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        columns = math.prod(tensor.shape[1:])
        drawn = (
            torch.randn(columns, generator=generator, dtype=dtype) if tensor.ndim > 1 else torch.ones(1, dtype=dtype)
        )
        found[name] = drawn.to(tensor.device)
    return found


def agrees(ledger: Ledger, grad: Tensor, direction: Tensor, *, size: float, terms: float) -> bool:
    """Say whether a parameter's account adds up to its gradient in the batch.

    Args:
        ledger: of the parameter, complete.
        grad: of the batch.
        direction: with which the ledger's sum was multiplied.
        size: norm of the whole model's gradient, against which rounding is judged.
        terms: norm of what the gradient is a sum of.
    """
    wide = grad.to(direction.dtype)
    if ledger.projection is not None:
        expected = wide.reshape(-1, len(direction)) @ direction
        got = ledger.projection
    else:  # gradients in another shape, with the same norm
        whole = ledger.whole()
        if whole is None:
            return False
        expected, got = wide.norm()[None], whole.sum(0).norm()[None]
    norms = float(expected.norm()), float(got.norm())
    return close(float((expected - got).norm()), *norms, size=size, rounding=ledger.rounding, terms=terms)


def check_sums(
    sums: Mapping[str, Tensor], grads: Mapping[str, Tensor], rounding: float, terms: Mapping[str, float]
) -> None:
    """Compare weighted sums of looped gradients with the batch's gradient.

    Args:
        sums: of the looped parameters' gradients.
        grads: of the batch, of all parameters.
        rounding: unit of the coarsest numbers in the computation.
        terms: norms of what the batch's gradients are sums of.

    Raises:
        UserError: they differ by more than rounding.
    """
    size = math.sqrt(sum(float(sq_norm(grad)) for grad in grads.values()))
    for name, total in sums.items():
        norms = float(sq_norm(total)) ** 0.5, float(sq_norm(grads[name])) ** 0.5
        difference = float(sq_norm(total - grads[name])) ** 0.5
        if not close(difference, *norms, size=size, rounding=rounding, terms=terms[name]):
            ratio = norms[1] / max(norms[0], 1e-300)
            raise unreadable(_explain(name, ratio, "the weighted sum over its examples") + advice(rounding))


def check_one_example(got: Mapping[str, Tensor], alone: Alone, examples: int, rounding: float, *, which: str) -> None:
    """Compare one example's squared norms with those of its loss differentiated alone.

    Each parameter's, and all together: in half precision a parameter among many could hide behind what the whole
    leaves to rounding.

    Args:
        got: from the batch.
        alone: the example's own.
        examples: in the batch.
        rounding: unit of the coarsest numbers in the computation.
        which: of the examples it is, in a word.

    Raises:
        UserError: they differ by more than rounding.
    """
    size = math.sqrt(sum(float(x) for x in alone.sq_norms.values()))
    pairs = [
        (name, float(got[name]) ** 0.5, float(expected) ** 0.5, size, alone.terms[name])
        for name, expected in alone.sq_norms.items()
    ]
    whole = math.sqrt(sum(float(got[name]) for name in alone.sq_norms))
    pairs.append(("the whole model's gradient", whole, size, 0.0, math.hypot(*alone.terms.values())))
    for name, here, expected, allowed, terms in pairs:
        if not close(abs(here - expected), here, expected, size=allowed, rounding=rounding, terms=terms):
            ratio = here / max(expected, 1e-300)
            what = f"what it is alone, in a batch of {examples}: the {which} example's"
            raise unreadable(_explain(name, ratio, what) + advice(rounding))


def _explain(name: str, ratio: float, what: str) -> str:
    if not math.isfinite(ratio):
        return (
            f"expected finite gradients, got NaN or infinity in {name}'s; try another batch, or a smaller loss scale, "
            "and look at the weights"
        )
    return (
        f"expected gradients that add up over examples, got {name} {ratio:.3g} times {what}; the loss weighs examples "
        "unequally or is a sum, or layers mix examples: try example_weights=[each example's weight in the batch's loss]"
    )
