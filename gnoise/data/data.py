"""What every data loader returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int
from torch import Tensor

Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""Tensors whose examples lie along dimension 0."""


@dataclass(frozen=True)
class Drawn:
    """A batch and where each of its examples comes from.

    Attributes:
        batch: tensors whose examples lie along dimension 0.
        example_ids: one number an example; for token data the window, which starts at id · block_size.
    """

    batch: Batch
    example_ids: Int[np.ndarray, " examples"]


class Draw(Protocol):
    """An endless stream of batches: the same seed gives the same stream."""

    def __call__(self, batch_size: int, seed: int) -> Iterator[Drawn]:
        """Draw batches of exactly ``batch_size`` examples."""
        ...


@dataclass(frozen=True)
class LoadedData:
    """A supply of examples.

    Attributes:
        description: how it was recognised, e.g. ``nanoGPT tokens train.bin: 1,025 tokens, 8 windows of 128``.
        example: what one example is: ``sequence``, ``row`` or ``image``.
        tokens_per_example: tokens the loss averages over; ``None`` without tokens.
        draw: makes the stream of batches.
        examples: how many there are; ``None`` where the supply does not say.
    """

    description: str
    example: str
    tokens_per_example: int | None
    draw: Draw
    examples: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What the model asks of its data.

    Attributes:
        folder: the checkpoint's, where relative references are also looked for.
        block_size: tokens in one example; ``None`` where the model has none.
        vocab_size: token ids must lie below it; ``None`` where the model does not say.
        tokenizer: a ``tokenizer.json`` to read text with.
    """

    folder: Path | None = None
    block_size: int | None = None
    vocab_size: int | None = None
    tokenizer: Path | None = None
