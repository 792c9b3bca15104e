"""Neutral remedies change no bit of a training run, however it computes its gradients."""

import math

import pytest
import torch
from torch import nn

from gnoise.remedies import REMEDIES, chain, clip_global_norm, clip_value, stabilize, wrap

WAYS = ("plain", "compiled", "accumulated", "scaled", "autocast")


def weights_after(way: str, *, neutral: bool, steps: int = 100) -> list[torch.Tensor]:
    """Train a small network in one of the WAYS, bare or with every neutral remedy, and return its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    forward = torch.compile(model, backend="aot_eager") if way == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    if neutral:
        for place, entry in enumerate(REMEDIES):
            if entry.neutral is not None:
                wrap(optimizer, entry.neutral, name=f"{place}")
        # Limits far away run the arithmetic and still change nothing.
        wrap(optimizer, chain(clip_value(3e38), clip_global_norm(3e38)), name="far")
    scaler = torch.amp.GradScaler("cpu", enabled=way == "scaled", init_scale=2.0**8)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        optimizer.zero_grad()
        for _ in range(3 if way == "accumulated" else 1):
            tokens = torch.randint(11, (4, 5), generator=generator)
            with torch.autocast("cpu", enabled=way == "autocast"):
                loss = forward(tokens).square().mean()
            scaler.scale(loss * (math.inf if way == "scaled" and step == 7 else 1.0)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("way", WAYS)
def test_neutral_remedies_change_no_bit(way: str) -> None:
    bare, ours = weights_after(way, neutral=False), weights_after(way, neutral=True)
    assert all(torch.equal(a, b) for a, b in zip(bare, ours, strict=True))


def test_a_step_the_scaler_skips_teaches_nothing() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    made = wrap(optimizer, stabilize())
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(weight.sum() * math.inf).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert made.state is None
    assert torch.equal(weight.detach(), torch.ones(3))
