"""Transforms before momentum and Newton–Schulz: the order, and what it is good for."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.formulas import shrink_rational
from gnoise.remedies import LayerwiseLR, Transform, clip_value, identity, shrink, wrap
from gnoise.remedies.geometry import polar_factor

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "muon": lambda p: torch.optim.Muon(p, lr=0.02),
    "layerwise_lr": lambda p: LayerwiseLR([{"params": p, "geometry": "spectral"}], nesterov=True, every=4),
}
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "shrink": lambda g: shrink_rational(g, 0.5),
    "clip_value": lambda g: g.clip(-0.5, 0.5),
}
TRANSFORMS = {"shrink": shrink("rational", 0.5), "clip_value": clip_value(0.5)}


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=generator)) for s in ((8, 6), (5, 9))]


def train(params: list[nn.Parameter], optimizer: Optimizer, steps: range, rule: Callable[[Tensor], Tensor]) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = rule(torch.empty(p.shape).cauchy_(generator=generator))
        optimizer.step()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gradient_is_transformed_before_momentum(name: str, rule: str) -> None:
    ours, by_hand = weights(), weights()
    optimizer = OPTIMIZERS[name](ours)
    wrap(optimizer, TRANSFORMS[rule])
    train(ours, optimizer, range(12), lambda g: g)
    train(by_hand, OPTIMIZERS[name](by_hand), range(12), RULES[rule])
    assert all(torch.equal(a, b) for a, b in zip(ours, by_hand, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_states_resume_bit_for_bit(name: str) -> None:
    whole, half = weights(), weights()
    optimizer = OPTIMIZERS[name](whole)
    wrap(optimizer, shrink("saturating"))
    train(whole, optimizer, range(11), lambda g: g)
    first, second = OPTIMIZERS[name](half), OPTIMIZERS[name](half)
    wrap(first, shrink("saturating"))
    wrap(second, shrink("saturating"))
    train(half, first, range(5), lambda g: g)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(half, second, range(5, 11), lambda g: g)
    assert all(torch.equal(a, b) for a, b in zip(whole, half, strict=True))


def muon_step(grad: Tensor, transform: Transform) -> Tensor:
    weight = nn.Parameter(torch.zeros_like(grad))
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0)
    wrap(optimizer, transform)
    weight.grad = grad.clone()
    optimizer.step()
    return -weight.detach()


@pytest.mark.parametrize(
    ("transform", "least", "most"),
    [(identity(), 0.3, 0.6), (clip_value(3.0), 0.75, 0.9), (shrink("rational", 3.0), 0.9, 1.0)],
    ids=["none", "clip_value", "shrink"],
)
def test_cauchy_entries_no_longer_steer_the_step(transform: Transform, least: float, most: float) -> None:
    cosines: list[float] = []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        signal = torch.randn(16, 12, generator=generator)
        rare = torch.rand(16, 12, generator=generator) < 0.03
        noise = 100.0 * rare * torch.empty(16, 12).cauchy_(generator=generator)
        step, aim = muon_step(signal + noise, transform), polar_factor(signal)
        cosines.append(nn.functional.cosine_similarity(step.flatten(), aim.flatten(), dim=0).item())
    assert least < sum(cosines) / len(cosines) < most
