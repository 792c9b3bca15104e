r"""Each example's own loss, read off the operation that made the batch's.

A loss function returns one number. Where that number is torch's cross-entropy or squared error, averaged, the terms of
the average are still held by the autograd graph; reading them costs no second forward pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import Node

_MEAN = 1
_VALUE_KEPT = frozenset({"ToCopyBackward0", "ViewBackward0", "SqueezeBackward0", "AliasBackward0"})


@dataclass(frozen=True)
class ExampleLosses:
    """What was read.

    Attributes:
        of_each: example's own mean loss; NaN where none of its terms counts.
        weights: its share of the counted terms, which is its weight in the batch's loss.
    """

    of_each: Float[Tensor, " examples"]
    weights: Float[Tensor, " examples"]


def example_losses(loss: Tensor, examples: int) -> ExampleLosses | None:
    """Average each example's terms of a batch's mean loss.

    Assumes that terms lie example by example, as flattening (examples, tokens) leaves them; a caller who does not
    know compares one batch with examples alone.

    Args:
        loss: of the batch, before its backward pass.
        examples: in the batch.

    Returns:
        ``None`` where the loss is none of the functions known here.
    """
    node = loss.grad_fn
    while node is not None and node.name() in _VALUE_KEPT:
        node = node.next_functions[0][0]
    terms_of = None if node is None else _TERMS.get(node.name())
    with torch.no_grad():
        found = None if node is None or terms_of is None else terms_of(node)
        if found is None or found[0].numel() % examples:
            return None
        terms_BT, counted_BT = (x.reshape(examples, -1) for x in found)
        counts_B = counted_BT.sum(1)
        return ExampleLosses(terms_BT.sum(1) / counts_B, counts_B / counts_B.sum())


_Terms = tuple[Tensor, Tensor] | None
"""What is averaged, and which of it counts."""


def _nll(node: Node) -> _Terms:
    log_p, target = node._saved_self, node._saved_target  # pyright: ignore[reportAttributeAccessIssue]
    if node._saved_reduction != _MEAN or node._saved_weight is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    counted = target != node._saved_ignore_index  # pyright: ignore[reportAttributeAccessIssue]
    picked = -log_p.gather(1, target.where(counted, 0).unsqueeze(1)).squeeze(1)
    return picked.where(counted, 0.0), counted


def _squared_error(node: Node) -> _Terms:
    if node._saved_reduction != _MEAN:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    values = (node._saved_self - node._saved_target).square()  # pyright: ignore[reportAttributeAccessIssue]
    return values, torch.ones_like(values, dtype=torch.bool)


_TERMS: Mapping[str, Callable[[Node], _Terms]] = {
    "NllLossBackward0": _nll,
    "NllLoss2DBackward0": _nll,
    "MseLossBackward0": _squared_error,
}
