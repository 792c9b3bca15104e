"""Small workloads with gradients that can be worked out by other means."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gnoise.collect import Workload, collect_run, run_info, trainable_parameters
from gnoise.collect.workload import Batch
from gnoise.runfile.analyze import analyze


class TiedModel(nn.Module):
    """Embedding tied to the head, layer norm, a position table used directly, a bias and a frozen weight."""

    def __init__(self, vocab: int = 11, width: int = 6, length: int = 5) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.h = nn.ModuleList([nn.Linear(width, width)])
        self.ln = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.wte.weight
        self.frozen = nn.Parameter(torch.ones(width), requires_grad=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.wte(tokens_BT) + self.position
        return self.lm_head(self.ln(x_BTD + torch.tanh(self.h[0](x_BTD))) * self.frozen)


def token_batches(vocab: int = 11, length: int = 5):
    def batches(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
        generator = torch.Generator().manual_seed(seed)
        first = 0
        while True:
            tokens = torch.randint(0, vocab, (examples, length + 1), generator=generator)
            yield (tokens[:, :-1], tokens[:, 1:]), np.arange(first, first + examples)
            first += examples

    return batches


def cross_entropy(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, tuple)
    return nn.functional.cross_entropy(module(batch[0]).flatten(0, 1), batch[1].flatten())


def tied_workload(seed: int = 0) -> Workload:
    torch.manual_seed(seed)
    return Workload(TiedModel(), cross_entropy, token_batches(), example="sequence", tokens_per_example=5)


class Planted(nn.Module):
    """A module whose one-example gradient is whatever the batch says: loss = mean over i of ⟨w, g_i⟩."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])

    def forward(self, batch: Batch) -> Tensor:
        assert isinstance(batch, tuple)
        return sum(
            ((w * g).flatten(1).sum(1).mean() for w, g in zip(self.weights, batch, strict=True)),
            torch.zeros(()),
        )


def followed_run(workload: Workload, path: Path) -> Path:
    """Collect and analyze 208 draws of two examples with matrices followed through Muon."""
    parameters = trainable_parameters(workload.module)
    info = run_info(
        workload, parameters, source="x", draws=208, examples_per_draw=2, seed=0, command="test", optimizer="muon"
    )
    collect_run(workload, parameters, path, info=info)
    analyze(path)
    return path


def planted_workload(draw_gradients, *shapes: tuple[int, ...]) -> Workload:
    """Make a workload whose example gradients come from ``draw_gradients(rng, examples) -> list of arrays``."""

    def batches(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
        rng = np.random.default_rng(seed)
        first = 0
        while True:
            arrays = draw_gradients(rng, examples)
            yield (
                tuple(torch.tensor(a, dtype=torch.float32) for a in arrays),
                np.arange(first, first + examples),
            )
            first += examples

    return Workload(Planted(*shapes), lambda module, batch: module(batch), batches)
