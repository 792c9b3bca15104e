"""What `papers.py` trains: the shipped models, a smaller GPT, a forecaster, and a cart with a pole.

Run alone it does nothing.
"""

import copy
import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from papers_trainings import Batch, Problem, State
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.load import load_workload
from gnoise.collect.workload import Workload
from gnoise.models.gpt import GPT, GPTConfig

SAMPLES = Path(__file__).resolve().parents[1] / "sample_checkpoints"
DOCS = SAMPLES / "gpt-docs"
SHIPPED = GPTConfig(block_size=128, vocab_size=2048, n_layer=5, n_head=4, n_embd=112)
SMALL = GPTConfig(block_size=64, vocab_size=2048, n_layer=2, n_head=4, n_embd=48)
WINDOW, SEQUENCES = 64, 8
"""Tokens of a sequence, and sequences of a step."""
HELD_OUT, HELD_OUT_SMALL = 192, 64
"""Sequences; where losses differ as much as over a grid fewer do."""

# Language models ---------------------------------------------------------------------------------------


def gpt() -> Problem:
    """Return gpt-docs' model from scratch, on its tokens."""
    return _language(lambda seed: _seeded_gpt(SHIPPED, seed))


def small_gpt() -> Problem:
    """Return a sixth of it, for grids."""
    return _language(lambda seed: _seeded_gpt(SMALL, seed), held_out=HELD_OUT_SMALL)


def gpt_from(moment: str, held_out: int = HELD_OUT) -> Problem:
    """Return gpt-docs at one of its moments, with its optimizer's state.

    Args:
        moment: folder of gpt-docs.
        held_out: sequences.
    """
    return _language(
        lambda seed: copy.deepcopy(_moment(moment).module),
        state=lambda: _moment(moment).optimizer_state,
        held_out=held_out,
    )


def middle_gpt() -> Problem:
    """Return gpt-docs at its middle moment, for grids."""
    return gpt_from("middle", HELD_OUT_SMALL)


def llama() -> Problem:
    """Return a Llama of llama-docs' sizes from scratch, on gpt-docs' tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(SAMPLES / "llama-docs")

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()

    return _language(make)


def language_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy in nats per token of a GPT or a Transformers model."""
    found = module(batch[0])
    logits = found[0] if isinstance(found, tuple) else found.logits
    return functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten())


def _language(
    make: Callable[[int], nn.Module],
    *,
    state: Callable[[], State] = dict,
    held_out: int = HELD_OUT,
) -> Problem:
    return Problem(
        batch_size=SEQUENCES,
        make=make,
        loss=language_loss,
        batches=_windows,
        held_out=lambda module: _held_out(module, held_out),
        state=state,
    )


def _seeded_gpt(config: GPTConfig, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return GPT(config)


def _windows(seed: int) -> Iterator[Batch]:
    tokens, generator = _tokens("train"), torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(tokens) - WINDOW, (SEQUENCES,), generator=generator)
        places = starts[:, None] + torch.arange(WINDOW)
        yield tokens[places], tokens[places + 1]


@torch.no_grad()
def _held_out(module: nn.Module, sequences: int) -> float:
    tokens, count = _tokens("val"), sequences * WINDOW
    inputs, targets = tokens[:count].view(-1, WINDOW), tokens[1 : count + 1].view(-1, WINDOW)
    losses = [
        language_loss(module, (x, y)).item()
        for x, y in zip(inputs.split(SEQUENCES), targets.split(SEQUENCES), strict=True)
    ]
    return math.fsum(losses) / len(losses)


@functools.cache
def _tokens(split: str) -> Tensor:
    return torch.from_numpy(np.fromfile(DOCS / f"{split}.bin", dtype="<u2").astype(np.int64))


@functools.cache
def _moment(moment: str) -> Workload:
    found = load_workload(DOCS / moment, data=str(DOCS / "train.bin"))
    found.module.train()
    return found


# Images ------------------------------------------------------------------------------------------------


def digits() -> Problem:
    """Return digits-cnn's network from scratch, on its digits."""
    folder = str(SAMPLES / "digits-cnn")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import factory

    held_out_images = factory.examples("test")

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return factory.make()

    @torch.no_grad()
    def held_out(module: nn.Module) -> float:
        return factory.loss(module, held_out_images).item()

    return Problem(32, make, factory.loss, lambda seed: factory.batches(32, seed), held_out)
