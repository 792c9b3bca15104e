"""The obvious way: one backward pass per example. Any layer, any parameter; the standard the rest is held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnoise.collect.per_example.batch import Loss, one_example, scalar_loss
from gnoise.collect.workload import Batch


@dataclass(frozen=True)
class Looped:
    """What a pass per example saw.

    Attributes:
        sq_norms: of each example's own gradient, by parameter.
        weighted_sum: of these gradients, in float32 or better.
    """

    sq_norms: dict[str, Float[Tensor, " examples"]]
    weighted_sum: dict[str, Tensor]


def loop(
    module: nn.Module, loss: Loss, batch: Batch, parameters: Mapping[str, nn.Parameter], weights: Sequence[float]
) -> Looped:
    """Differentiate the loss of one example after another, with respect to these parameters alone."""
    tensors = list(parameters.values())
    columns: list[Tensor] = []
    sums = [torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
    for example, weight in enumerate(weights):
        value = scalar_loss(loss(module, one_example(batch, example, len(weights))))
        grads = dense_grads(value, tensors)
        columns.append(torch.stack([sq_norm(grad) for grad in grads]))
        for total, grad in zip(sums, grads, strict=True):
            total.add_(grad.to(total.dtype), alpha=weight)
    rows = torch.stack(columns, dim=1) if columns else torch.zeros(len(tensors), 0)
    return Looped(dict(zip(parameters, rows, strict=True)), dict(zip(parameters, sums, strict=True)))


def dense_grads(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Differentiate; zeros where the loss does not reach, dense where torch returns a sparse gradient."""
    found = torch.autograd.grad(value, list(tensors), allow_unused=True)
    return [dense(grad, tensor) for grad, tensor in zip(found, tensors, strict=True)]


def dense(grad: Tensor | None, tensor: Tensor) -> Tensor:
    """Write out a gradient that is sparse, or absent because the loss does not reach the tensor."""
    if grad is None:
        return torch.zeros_like(tensor)
    return grad.to_dense() if grad.is_sparse else grad


def sq_norm(grad: Tensor) -> Float[Tensor, ""]:
    """Square a gradient's norm, in float32 or better."""
    return norm(grad).square()


def norm(grad: Tensor) -> Float[Tensor, ""]:
    """Take a gradient's norm, in float32 or better, row by row: one float32 sum over 10⁶ entries loses five digits."""
    rows = grad.flatten(1) if grad.ndim > 1 else grad.reshape(1, -1)
    wide = torch.promote_types(grad.dtype, torch.float32)
    return torch.linalg.vector_norm(torch.linalg.vector_norm(rows, dim=1, dtype=wide))
