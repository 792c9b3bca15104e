"""Batches and losses as the engine needs them."""

from collections.abc import Callable

from torch import Tensor, nn

from gnoise.collect.workload import Batch
from gnoise.errors import UserError, unreadable

Loss = Callable[[nn.Module, Batch], Tensor]
"""(module, batch) to a scalar."""


def count_examples(batch: Batch) -> int:
    """Count examples along dimension 0; tensors of length 1 there (position ids) are shared by all.

    Raises:
        UserError: the batch holds no tensor with a dimension, or its tensors disagree.
    """
    parts = [batch] if isinstance(batch, Tensor) else list(batch.values() if isinstance(batch, dict) else batch)
    # Callers without a type checker hand over mappings that are no dicts, as tokenizers return.
    sizes = {
        int(part.shape[0]) if isinstance(part, Tensor) and part.ndim else 0  # pyright: ignore[reportUnnecessaryIsInstance]
        for part in parts
    }
    if not sizes or 0 in sizes or len(sizes - {1}) > 1:
        raise unreadable(
            f"expected a batch of tensors with the examples along dimension 0, got sizes {sorted(sizes)}; "
            "try a tensor, a tuple or dict(batch) of tensors of one length (or 1 where all examples share them)"
        )
    return max(sizes)


def one_example(batch: Batch, index: int, examples: int) -> Batch:
    """Take one example, as a batch of one; what all examples share stays as it is."""
    return some_examples(batch, slice(index, index + 1), examples)


def some_examples(batch: Batch, chosen: slice, examples: int) -> Batch:
    """Take some of a batch's examples; what all examples share stays as it is."""

    def take(tensor: Tensor) -> Tensor:
        return tensor if tensor.shape[0] != examples else tensor[chosen]

    if isinstance(batch, Tensor):
        return take(batch)
    if isinstance(batch, dict):
        return {key: take(value) for key, value in batch.items()}
    return tuple(take(value) for value in batch)


def scalar_loss(value: object) -> Tensor:
    """Insist on a scalar that can be differentiated.

    Raises:
        UserError: anything else.
    """
    if isinstance(value, Tensor) and value.ndim == 0 and value.requires_grad:
        return value
    got = (
        f"shape {tuple(value.shape)}, requires_grad={value.requires_grad}" if isinstance(value, Tensor) else type(value)
    )
    raise UserError(
        f"expected the loss to be a scalar with a gradient, got {got}; try a function of (module, batch) that returns "
        "the mean loss over the batch's examples, outside torch.no_grad()"
    )
