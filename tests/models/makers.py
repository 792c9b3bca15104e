"""Tiny checkpoints of every format, and what a refusal must look like."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from gnoise.errors import ExitCode, UserError
from gnoise.models.gpt import GPT, GPTConfig

MODEL_ARGS = {
    "block_size": 8, "vocab_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 8, "dropout": 0.0, "bias": False,
}  # fmt: skip

FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

def make_with_loss():
    return make(), loss

def loss(module, batch):
    inputs, targets = batch
    return nn.functional.cross_entropy(module(inputs), targets)

def no_scalar(module, batch):
    return module(batch[0])

def needs_argument(width):
    return nn.Linear(width, 1)

def no_module():
    return "a module"

NUMBER = 3
"""


class Hostile:
    """Unpickled naively, it creates a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@contextmanager
def refused(exit_code: ExitCode, *fragments: str) -> Iterator[None]:
    """Expect one UserError that says what it expected, what it got and what to try."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert caught.value.exit_code is exit_code, message
    for fragment in ("expected", "got", "try", *fragments):
        assert fragment in message
    assert len(message) < 1000


def gpt(**changes: Any) -> GPT:
    """Make a tiny GPT with fixed weights."""
    torch.manual_seed(0)
    return GPT(GPTConfig(**(MODEL_ARGS | changes)))


def nanogpt_checkpoint(**changes: Any) -> dict[str, Any]:
    """Make what nanoGPT's train.py saves."""
    module = gpt()
    groups = [
        {"params": [p for p in module.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in module.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95))
    return {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "model_args": dict(MODEL_ARGS),
        "iter_num": 3000,
        "best_val_loss": torch.tensor(1.5),
        "config": {
            "dataset": "toy", "learning_rate": 1e-3, "batch_size": 12, "gradient_accumulation_steps": 5,
            "grad_clip": 1.0, "compile": True, "out_dir": "out",
        },
    } | changes  # fmt: skip


def write_nanogpt(folder: Path, **changes: Any) -> Path:
    """Write a nanoGPT checkpoint into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ckpt.pt"
    torch.save(nanogpt_checkpoint(**changes), path)
    return path


def write_tokenizer(path: Path, words: int = 14) -> Path:
    """Write a byte-level tokenizer of a few tokens, fewer than the model has rows."""
    vocabulary = {chr(ord("a") + number): number for number in range(words - 1)} | {"Ġ": words - 1}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))
    return path


def write_llama(folder: Path, **changes: Any) -> nn.Module:
    """Write a tiny Hugging Face folder."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8,
    }  # fmt: skip
    module = LlamaForCausalLM(LlamaConfig(**(sizes | changes)))
    module.save_pretrained(folder)
    return module


def write_factory(folder: Path) -> Path:
    """Write factory.py and a fitting model.pt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "factory.py").write_text(FACTORY)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(module.state_dict(), folder / "model.pt")
    return folder / "model.pt"


def truncate(path: Path, share: float = 0.5) -> Path:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
