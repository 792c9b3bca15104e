"""The printed code does what ``apply`` does, to the bit, in each kind of training script."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from gnoise.errors import UserError
from gnoise.remedies import apply, wrapped
from gnoise.remedies.by_hand import LOOPS, by_hand


def entry(layer: str | None, remedy: str, **params: Any) -> dict[str, Any]:
    return {"layer": layer, "remedy": remedy, "params": params, "status": "ok"}


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"format": "gnoise.recommendations", "version": 1, "recommendations": list(entries)}


HAS_LIGHTNING = importlib.util.find_spec("lightning") is not None
TABLE, BLOCK = "transformer.wte.weight", "transformer.h.0.attn.c_attn.weight"
EVERY = document(
    entry(TABLE, "shrink", form="saturating", rows=True, scale=1e-4),
    entry(BLOCK, "shrink", form="rational", scale=3.1e-5),
    entry("transformer.h.1.attn.c_attn.weight", "shrink", form="rational", scale=1.7e-5),
    entry("transformer.h.0.mlp.c_fc.weight", "shrink", form="rational", scale=None),
    entry("transformer.ln_f.bias", "clip", clip_value=2.5e-5),
    entry("transformer.ln_f.weight", "layerwise_lr", lr_multiplier=0.25),
    entry(None, "stabilize", gammas=[0.7, 0.9], max_ratio=1.0),
)
DOCUMENTS = {"every": EVERY, "one": document(EVERY["recommendations"][1]), "none": document(entry(None, "none"))}


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    size = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 30, "n_positions": 12}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**size, **off))


def examples() -> list[dict[str, torch.Tensor]]:
    tokens = torch.randint(30, (12, 12), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in tokens]


def trained(switch: Callable[[nn.Module, torch.optim.Optimizer], object]) -> tuple[list[torch.Tensor], dict[str, Any]]:
    model = gpt2()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    switch(model, optimizer)
    for example in examples():
        optimizer.zero_grad()
        model(**{key: x.unsqueeze(0) for key, x in example.items()}).loss.backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()], optimizer.state_dict()


def ran(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "printed", "exec"), names)
    return names


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_plain_torch_by_hand_is_apply(name: str) -> None:
    add = ran(by_hand(DOCUMENTS[name]))["add_remedies"]
    ours, state = trained(add)
    theirs, other = trained(lambda model, optimizer: apply(DOCUMENTS[name], model, optimizer))
    assert same(ours, theirs)
    assert same(ours, trained(lambda model, optimizer: None)[0]) == (name == "none")
    assert list(state.get("gnoise.remedies", {})) == list(other.get("gnoise.remedies", {}))


def test_a_trainer_by_hand_is_apply(tmp_path: Path) -> None:
    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=2,
        learning_rate=0.01,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )

    def run(make: type[transformers.Trainer]) -> tuple[list[torch.Tensor], transformers.Trainer]:
        trainer = make(model=gpt2(), args=settings, train_dataset=examples())
        trainer.train()
        return [p.detach() for p in trainer.model.parameters()], trainer

    class WithApply(transformers.Trainer):
        def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
            done = self.optimizer is not None
            optimizer = super().create_optimizer(model)
            return optimizer if done else apply(EVERY, self.model, optimizer)

    by_code, trainer = run(ran(by_hand(EVERY, loop="trainer"))["TrainerWithRemedies"])
    by_apply, _ = run(WithApply)
    bare, _ = run(transformers.Trainer)
    assert same(by_code, by_apply)
    assert not same(by_code, bare)
    found = wrapped(getattr(trainer.optimizer, "optimizer", trainer.optimizer))
    assert found["apply:stabilize:0.7:0.9:1:others"].state.per_tensor["steps"].max() == 6.0


def fit(module: Any, batches: list[torch.Tensor]) -> None:
    """Train with Lightning where it is installed, else do what its loop does."""
    if HAS_LIGHTNING:
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = importlib.import_module("lightning").Trainer(
            max_epochs=1, accelerator="cpu", **dict.fromkeys(off, False)
        )
        trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
        return
    optimizer = module.configure_optimizers()
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        module.training_step(batch, number).backward()
        optimizer.step()


@pytest.mark.filterwarnings("ignore")  # Lightning's own advice
def test_a_lightning_module_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_LIGHTNING:
        stand_in = ModuleType("lightning")
        stand_in.LightningModule = nn.Module
        monkeypatch.setitem(sys.modules, "lightning", stand_in)
    clip = document(entry("fc.weight", "clip", clip_value=0.5), entry(None, "stabilize", gammas=[0.7, 0.9]))
    printed = ran(by_hand(clip, loop="lightning"))["ModuleWithRemedies"]

    class Fitted(printed):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(3, 2)

        def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
            return self.fc(batch).pow(4).sum()

    batches = list(torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(1)))
    module, twin, bare = Fitted(), Fitted(), Fitted()
    fit(module, batches)
    for model, switch in ((twin, lambda optimizer: apply(clip, twin, optimizer)), (bare, lambda optimizer: None)):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
        switch(optimizer)
        for number, batch in enumerate(batches):
            optimizer.zero_grad()
            model.training_step(batch, number).backward()
            optimizer.step()
    assert same(list(module.parameters()), list(twin.parameters()))
    assert not same(list(module.parameters()), list(bare.parameters()))


@pytest.mark.parametrize("loop", LOOPS)
def test_code_comes_from_files_too(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "recommendations.json"
    path.write_text(json.dumps(EVERY), encoding="utf-8")
    assert by_hand(path, loop=loop) == by_hand(EVERY, loop=loop)


@pytest.mark.parametrize(
    ("recommendations", "loop", "message"),
    [
        (EVERY, "jax", "expected a loop among torch, trainer, lightning, got 'jax'; try torch"),
        (document(entry("a", "shrink", form="cubic")), "torch", "got 'cubic'"),
        (document(entry("a", "clip", clip_value=0.0)), "torch", "expected clip_value above 0 for a"),
        (document(entry(None, "layerwise_lr", lr_multiplier=0.5)), "torch", "expected a layer for layerwise_lr"),
    ],
)
def test_what_makes_no_sense_is_not_printed(recommendations: dict[str, Any], loop: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        by_hand(recommendations, loop=loop)
