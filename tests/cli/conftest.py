"""A tiny nanoGPT checkpoint with data, and the command line called as a shell would."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from gnoise.cli import main
from gnoise.models.gpt import GPT, GPTConfig


@dataclass(frozen=True)
class Result:
    """What a shell would see."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def gnoise(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call ``gnoise`` with arguments, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["gnoise", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


def write_checkpoint(folder: Path, *, nan: bool = False, drop: str | None = None) -> Path:
    """Write a tiny nanoGPT checkpoint, its tokens and its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    config = GPTConfig(block_size=8, vocab_size=32, n_layer=1, n_head=2, n_embd=8, dropout=0.0, bias=True)
    torch.manual_seed(0)
    state = GPT(config).state_dict()
    if nan:
        state["transformer.wpe.weight"][0, 0] = float("nan")
    if drop is not None:
        state = {name: tensor for name, tensor in state.items() if name != drop} | {"surplus": torch.zeros(1)}
    torch.save(
        {
            "model": state,
            "model_args": asdict(config),
            "iter_num": 7,
            "best_val_loss": 3.0,
            "config": {
                "batch_size": 4,
                "gradient_accumulation_steps": 1,
                "grad_clip": 1.0,
                "learning_rate": 1e-3,
            },
        },
        folder / "ckpt.pt",
    )
    tokens = np.random.default_rng(0).integers(0, 32, 4000).astype(np.uint16)
    tokens.tofile(folder / "train.bin")
    (folder / "gnoise.toml").write_text('data = "train.bin"\ndraws = 16\nbatch_size = 2\n')
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny")


@pytest.fixture
def a_run(gnoise: Run, checkpoint: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gnoise"
    assert gnoise("profile", checkpoint, "-o", path).code == 0
    return path
