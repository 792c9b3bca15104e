"""The optimizer's state that the Trainer leaves beside the weights, and what keeps it from being read."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from gnoise.models import inspect_source, load_model
from tests.models.makers import Hostile, truncate, write_factory, write_llama, write_nanogpt


class Tokens(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens = torch.arange(8) + index
        return {"input_ids": tokens % 16, "labels": tokens % 16}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    """Two steps of the Trainer, and its checkpoint."""
    folder = tmp_path_factory.mktemp("trainer")
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=2, save_steps=2, per_device_train_batch_size=4, learning_rate=1e-3,
        lr_scheduler_type="constant", weight_decay=0.1, adam_beta2=0.95, logging_steps=1, report_to=[], use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model=write_llama(folder / "start"), args=arguments, train_dataset=Tokens())
    trainer.train()
    return folder / "checkpoint-2", trainer


def test_the_trainers_checkpoint_brings_its_optimizer(trained: tuple[Path, Trainer]) -> None:
    folder, trainer = trained
    model = load_model(folder)
    expected = {"name": "AdamW", "lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
    assert model.optimizer == expected | {"iteration": 2, "batch_size": 4}
    assert model.notes == ()
    assert inspect_source(folder).optimizer == model.optimizer
    state = trainer.optimizer.state
    for name, parameter in trainer.model.named_parameters():
        assert model.optimizer_state[name]["step"] == 2
        torch.testing.assert_close(model.optimizer_state[name]["exp_avg"], state[parameter]["exp_avg"])
        torch.testing.assert_close(
            model.second_moments[name], state[parameter]["exp_avg_sq"] / (1.0 - 0.95**2), rtol=1e-5, atol=0.0
        )


def test_a_folder_of_the_trainers_with_a_factory(trained: tuple[Path, Trainer], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    write_factory(tmp_path)
    (tmp_path / "model.pt").unlink()
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    torch.save({"last_epoch": 1}, tmp_path / "scheduler.pt")
    model = load_model(tmp_path, factory="factory:make")
    assert (model.optimizer["name"], model.optimizer["lr"]) == ("SGD", 0.1)
    assert inspect_source(tmp_path).optimizer == model.optimizer


def test_state_that_would_call_something_is_left_aside(tmp_path: Path) -> None:
    write_llama(tmp_path)
    torch.save({"state": {}, "param_groups": [Hostile(tmp_path / "proof")]}, tmp_path / "optimizer.pt")
    model = load_model(tmp_path)
    assert dict(model.optimizer) == {}
    assert not (tmp_path / "proof").exists()
    (note,) = model.notes
    assert "optimizer.pt" in note
    assert "posix.system" in note
    assert "nothing was run" in note


def test_damaged_state_is_left_aside(tmp_path: Path) -> None:
    own = write_llama(tmp_path)
    torch.save(torch.optim.AdamW(own.parameters()).state_dict(), tmp_path / "optimizer.pt")
    truncate(tmp_path / "optimizer.pt")
    model = load_model(tmp_path)
    assert dict(model.optimizer) == {}
    assert "left aside" in model.notes[0]


def test_nanogpt_with_muon_is_not_taken_for_adamw(tmp_path: Path) -> None:
    made = torch.optim.Muon([torch.nn.Parameter(torch.zeros(4, 4))], lr=0.02)
    assert load_model(write_nanogpt(tmp_path / "muon", optimizer=made.state_dict())).optimizer["name"] == "Muon"
    assert load_model(write_nanogpt(tmp_path / "plain")).optimizer["name"] == "AdamW"
    held = write_nanogpt(tmp_path / "held", optimizer=None, optimizers=[made.state_dict()])
    assert load_model(held).optimizer["name"] == "Muon"
