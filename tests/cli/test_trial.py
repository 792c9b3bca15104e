"""``gnoise trial`` as a shell would see it."""

import json
from pathlib import Path

import torch

from gnoise.models.gpt import GPT, GPTConfig
from tests.cli.conftest import Run


def test_a_trial_from_a_profiled_checkpoint(gnoise: Run, checkpoint: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "tiny.gnoise", "-q").code == 0
    wrong = gnoise("trial", "tiny.gnoise", "--budget", "soon")
    assert wrong.code == 2
    assert "try --budget 10m" in wrong.err
    unjudged = gnoise("trial", "tiny.gnoise", "--arms", "clip_norm")
    assert unjudged.code == 2
    assert "try --arms clip,shrink,stabilize" in unjudged.err
    options = ("--arms", "stabilize", "--steps", 12, "--seeds", 2, "--device", "cpu")
    done = gnoise("trial", "tiny.gnoise", *options)
    assert done.code == 0
    assert "Wrote tiny.gnoise" in done.err
    assert "stabilize, seed 2" in done.err
    assert done.out.startswith("Verdict stabilize")
    assert "clipped as it was trained" in done.out
    printed = json.loads(gnoise("trial", "tiny.gnoise", *options, "--json").out)
    shown = json.loads(gnoise("show", "tiny.gnoise", "--json").out)
    assert shown["trials"] == [printed]
    arms = {arm["arm"]: arm for arm in printed["arms"]}
    assert list(arms) == ["none", "stabilize", "as_trained", "longer", "batch_x2"]
    assert {"tokens_saved", "low", "high", "status"} <= arms["stabilize"].keys()
    assert printed["plan"]["references"]["data"].endswith("train.bin")


def test_a_trial_from_a_checkpoint_of_muon(gnoise: Run, checkpoint: Path) -> None:
    file = checkpoint / "ckpt.pt"
    held = torch.load(file)
    module = GPT(GPTConfig(**held["model_args"]))
    named = [(".h." in name and x.ndim == 2, x) for name, x in module.named_parameters()]
    muon = torch.optim.Muon([x for hidden, x in named if hidden], lr=0.01)
    adamw = torch.optim.AdamW([x for hidden, x in named if not hidden], lr=1e-3)
    tokens = torch.arange(36).view(4, 9) % 32
    module(tokens[:, :-1], tokens[:, 1:])[1].backward()
    muon.step()
    adamw.step()
    torch.save(held | {"model": module.state_dict(), "optimizers": [muon.state_dict(), adamw.state_dict()]}, file)
    assert gnoise("profile", checkpoint, "-o", "muon.gnoise", "-q").code == 0
    options = ("--arms", "clip,layerwise_lr,muon", "--steps", 8, "--seeds", 2, "--device", "cpu")
    done = gnoise("trial", "muon.gnoise", *options)
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "muon: the same training as without remedy, to the last digit." in said
    assert "Muon with the checkpoint's state, learning rate 0.0" in said
    assert gnoise("trial", "muon.gnoise", *options).out == done.out
    muon.param_groups[0]["beta2"] = 0.9  # whose Muon that is nobody knows
    torch.save(held | {"model": module.state_dict(), "optimizers": [muon.state_dict(), adamw.state_dict()]}, file)
    assert gnoise("profile", checkpoint, "-o", "other.gnoise", "-q").code == 0
    refused = gnoise("trial", "other.gnoise")
    assert refused.code == 2
    assert (
        "got one of Muon, which steps transformer.h.0.attn.c_attn.weight (24 × 8) by Muon with the settings"
        in refused.err
    )


def test_a_checkpoint_that_moved_or_changed_is_said(gnoise: Run, checkpoint: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "tiny.gnoise", "-q").code == 0
    moved = checkpoint.rename(checkpoint.with_name("moved"))
    lost = gnoise("trial", "tiny.gnoise")
    assert lost.code == 3
    assert "try --source PATH" in lost.err
    found = gnoise("trial", "tiny.gnoise", "--source", moved, "--steps", 4, "--seeds", 2, "--data", moved / "train.bin")
    assert found.code == 0, found.err
