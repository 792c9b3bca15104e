"""The digits network (`factory:make`), its loss (`factory:loss`), its data (`factory:batches`, `factory:held_out`)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

DIGITS = Path(__file__).resolve().parent / "digits.npz"
N_CLASSES = 10
BRIGHTEST = 16.0

Batch = tuple[Tensor, Tensor]


def make() -> nn.Module:
    """Make the network, untrained: three convolutions with GroupNorm, then a linear head."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 32, kernel_size=3, padding=1),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, N_CLASSES),
    )


def loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of a batch, in nats per image."""
    images, labels = batch
    return nn.functional.cross_entropy(module(images), labels)


def examples(split: str) -> Batch:
    """Return all images, scaled to [0, 1] and shaped (N, 1, 8, 8), and labels of `train` or `test`."""
    with np.load(DIGITS, allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays[f"{split}_images"]).float().unsqueeze(1) / BRIGHTEST
        return images, torch.from_numpy(arrays[f"{split}_labels"]).long()


def batches(batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield training batches for ever, each epoch in a new order that `seed` decides."""
    yield from _batches("train", batch_size, seed)


def held_out(batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield batches of the test images likewise: `gnoise trial` judges by them."""
    yield from _batches("test", batch_size, seed)


def _batches(split: str, batch_size: int, seed: int) -> Iterator[Batch]:
    images, labels = examples(split)
    if not 1 <= batch_size <= len(labels):
        raise ValueError(f"expected batch_size between 1 and {len(labels)}, got {batch_size}; try 32")
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(labels), generator=generator)
        for chosen in order[: len(order) // batch_size * batch_size].split(batch_size):
            yield images[chosen], labels[chosen]
