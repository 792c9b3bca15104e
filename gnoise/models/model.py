"""What every model loader returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from gnoise.models.steps import OptimizerSteps
from gnoise.records import JsonValue

Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Tensors whose examples lie along dimension 0."""

Loss = Callable[[nn.Module, Batch], Tensor]
"""(module, batch) to the scalar mean loss over the batch's examples."""


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint turned into a module that can be differentiated.

    Attributes:
        module: the network, in float32, in whichever mode its constructor left it.
        loss: (module, batch) to the scalar mean loss.
        description: how it was recognised, e.g. ``nanoGPT checkpoint, iteration 3000, 1.00 M parameters``.
        sha256: of the bytes of the weight files, in sorted order of their names.
        example: ``sequence`` for language models, ``row`` where only the data can tell.
        block_size: tokens in one example; ``None`` without tokens.
        vocab_size: tokens in the vocabulary; ``None`` without tokens.
        optimizer: hyper-parameters found in the checkpoint; empty without any.
        second_moments: Adam's v by parameter name, bias-corrected; empty without optimizer state.
        optimizer_state: all that torch's optimizer keeps, by parameter name; empty without any that fits.
        optimizer_steps: how each parameter is stepped, where Muon steps some.
        row_labels: text of each token, for embedding and head rows; empty without a tokenizer.
        default_data: training data found beside the checkpoint; ``None`` without any.
        tokenizer: the checkpoint's ``tokenizer.json``; ``None`` without one.
        notes: what a person should know of it, a line each: e.g. a file that was left aside.
    """

    module: nn.Module
    loss: Loss
    description: str
    sha256: str
    example: str = "row"
    block_size: int | None = None
    vocab_size: int | None = None
    optimizer: Mapping[str, JsonValue] = field(default_factory=dict)
    second_moments: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer_state: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    optimizer_steps: OptimizerSteps = field(default_factory=OptimizerSteps)
    row_labels: tuple[str, ...] = ()
    default_data: str | None = None
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()


def in_millions(parameters: int) -> str:
    """Write a parameter count for people.

    Args:
        parameters: trainable scalars, tied ones once.
    """
    if parameters < 1_000_000:
        return f"{parameters:,} parameters"
    if parameters < 1_000_000_000:
        return f"{parameters / 1e6:.2f} M parameters"
    return f"{parameters / 1e9:.2f} B parameters"


def count_parameters(module: nn.Module) -> int:
    """Count trainable scalars, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
