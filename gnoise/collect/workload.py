"""What is profiled: a module, its loss, and a supply of examples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from gnoise.errors import unreadable
from gnoise.models.steps import OptimizerSteps
from gnoise.records import JsonValue

Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Tensors whose examples lie along dimension 0."""
Batches = Callable[[int, int], Iterator[tuple[Batch, np.ndarray]]]
"""(examples, seed) to an endless stream of (batch, example ids)."""


@dataclass(frozen=True)
class HeldOut:
    """Examples kept from training.

    Attributes:
        data: one line that says how they were recognised.
        examples: how many there are; ``None`` where the supply does not say.
        batches: (examples, seed) to an endless stream of (batch, example ids).
    """

    data: str
    examples: int | None
    batches: Batches


@dataclass(frozen=True)
class Workload:
    """A module with everything needed to draw its gradients.

    Attributes:
        module: the network.
        loss: (module, batch) to the scalar *mean* loss over the batch's examples.
        batches: (examples, seed) to an endless stream of (batch, example ids).
        example: what one example is: ``sequence``, ``row`` or ``image``.
        model: one line that says how the model was recognised.
        data: one line that says how the data were recognised.
        sha256: of the checkpoint's weights.
        tokens_per_example: ``None`` where examples have no tokens.
        examples: how many there are to draw from; ``None`` where the data do not say.
        row_labels: token text behind embedding and head rows; empty without a tokenizer.
        optimizer: hyper-parameters found in the checkpoint.
        second_moments: Adam's v of each parameter by name, bias-corrected; empty without optimizer state.
        optimizer_state: all that the checkpoint's optimizer keeps, by parameter name; empty without any that fits.
        optimizer_steps: how it steps each parameter, where Muon steps some; a trial goes on with that.
        references: ``data``, ``factory``, ``loss``, ``held_out`` as they were given or found; what loads this again.
        held_out: examples kept from training; ``None`` where none were named.
        notes: what a person should know of how it was loaded, a line each.
    """

    module: nn.Module
    loss: Callable[[nn.Module, Batch], Tensor]
    batches: Batches
    example: str = "row"
    model: str = "module"
    data: str = "batches"
    sha256: str = ""
    tokens_per_example: int | None = None
    examples: int | None = None
    row_labels: tuple[str, ...] = ()
    optimizer: Mapping[str, JsonValue] = field(default_factory=dict)
    second_moments: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer_state: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    optimizer_steps: OptimizerSteps = field(default_factory=OptimizerSteps)
    references: Mapping[str, str] = field(default_factory=dict)
    held_out: HeldOut | None = None
    notes: tuple[str, ...] = ()


def move(batch: Batch, device: torch.device) -> Batch:
    """Copy a batch to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: value.to(device) for key, value in batch.items()}
    return tuple(value.to(device) for value in batch)


def example_of(batch: Batch, index: int) -> Batch:
    """Take one example, as a batch of one."""
    return some_of(batch, slice(index, index + 1))


def some_of(batch: Batch, chosen: slice) -> Batch:
    """Take some of a batch's examples."""
    if isinstance(batch, Tensor):
        return batch[chosen]
    if isinstance(batch, dict):
        return {key: value[chosen] for key, value in batch.items()}
    return tuple(value[chosen] for value in batch)


def examples_in(batch: Batch) -> int:
    """Count the examples of a batch.

    Raises:
        UserError: the batch holds no tensor, or its tensors disagree.
    """
    tensors = [batch] if isinstance(batch, Tensor) else list(batch.values() if isinstance(batch, dict) else batch)
    sizes = {int(tensor.shape[0]) if tensor.ndim else 0 for tensor in tensors}
    if len(sizes) != 1 or sizes == {0}:
        raise unreadable(
            f"expected batches of tensors with the examples along dimension 0, got sizes {sorted(sizes)}; "
            "try a loader that yields a tensor, a tuple or a dict of tensors of one length"
        )
    return sizes.pop()
