"""The simulated optimizers take torch's own steps."""

import numpy as np
import pytest
import torch

from gnoise.stats.evidence import Simulated, adam, default_notice, judged_under, sgd, sign, simulated_optimizer

STEPS, COORDS, LR = 30, 50, 1e-3


def _grads() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((STEPS, COORDS)) * np.geomspace(1e-3, 10.0, COORDS)


def _simulated(optimizer: Simulated, grads: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, directions = np.zeros(COORDS), []
    for grad in grads:
        first, second = optimizer.next_first(first, grad), optimizer.next_second(second, grad)
        directions.append(optimizer.direction(first, second))
    return np.stack(directions)


def _steps(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, grads: np.ndarray) -> np.ndarray:
    moved = []
    for grad in grads:
        before = parameter.detach().clone()
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        moved.append((before - parameter.detach()).numpy() / LR)
    return np.stack(moved)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_long_after_its_start(kind: type[torch.optim.Adam]) -> None:
    grads = _grads()
    mean_square = np.square(grads).mean(axis=0)
    parameter = torch.zeros(COORDS, dtype=torch.float64, requires_grad=True)
    optimizer = kind([parameter], lr=LR, betas=(0.9, 0.95), weight_decay=0.0)
    parameter.grad = torch.zeros(COORDS, dtype=torch.float64)
    optimizer.step()
    state = optimizer.state[parameter]
    state["step"].fill_(1e6)
    state["exp_avg_sq"].copy_(torch.tensor(mean_square))
    expected = _steps(optimizer, parameter, grads)
    np.testing.assert_allclose(_simulated(adam((0.9, 0.95)), grads, mean_square), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(momentum: float) -> None:
    grads = _grads()
    parameter = torch.zeros(COORDS, dtype=torch.float64, requires_grad=True)
    expected = _steps(torch.optim.SGD([parameter], lr=LR, momentum=momentum), parameter, grads)
    np.testing.assert_allclose(_simulated(sgd(momentum), grads, np.ones(COORDS)), expected, rtol=1e-9, atol=1e-12)


def test_sign_has_only_signs() -> None:
    assert set(np.unique(_simulated(sign(), _grads(), np.ones(COORDS)))) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({}, "Adam (betas 0.9, 0.999)"),
        ({"name": "AdamW", "betas": [0.9, 0.95]}, "Adam (betas 0.9, 0.95)"),
        ({"name": "SGD", "momentum": 0.9}, "SGD (momentum 0.9)"),
        ({"name": "sgd"}, "SGD"),
        ({"name": "Lion", "betas": [0.9, 0.99]}, "sign (momentum 0.99)"),
        ({"name": "Shampoo", "betas": "high"}, "Adam (betas 0.9, 0.999)"),
        ({"name": "Muon", "momentum": 0.9, "betas": [0.8, 0.95]}, "Adam (betas 0.8, 0.95)"),
    ],
)
def test_the_checkpoints_own_optimizer_is_taken(found: dict, name: str) -> None:
    assert simulated_optimizer(found).name == name


@pytest.mark.parametrize(
    ("found", "under", "words"),
    [
        ({"name": "AdamW"}, "", ""),
        ({"name": "AdamW"}, "adamw", ""),
        ({"name": "Adam"}, "adamw", ""),
        ({"name": "Muon"}, "", ""),
        ({"name": "Lion"}, "", ""),
        ({"name": "AdamW", "momentum": 0.5}, "muon", "under Muon (momentum 0.95), not the checkpoint's AdamW"),
        ({"name": "Muon", "betas": [0.8, 0.9]}, "adamw", "under Adam (betas 0.8, 0.9), not the checkpoint's Muon"),
        ({"name": "AdamW"}, "sgd", "under SGD (momentum 0.9), not the checkpoint's AdamW"),
        ({}, "sign", "under sign (momentum 0.9)"),
        ({}, "", "under Adam (betas 0.9, 0.999), as the checkpoint names no optimizer"),
        ({"name": "RMSprop"}, "", "under Adam (betas 0.9, 0.999), not the checkpoint's RMSprop"),
    ],
)
def test_another_optimizer_than_the_checkpoints_is_said(found: dict, under: str, words: str) -> None:
    assert judged_under(found, under) == words


def test_the_default_is_said_before_the_run_with_what_to_type() -> None:
    for found in ({}, {"name": "RMSprop"}):
        assert "under AdamW; try --optimizer muon" in default_notice(found)
        assert default_notice(found, "muon") == ""
    assert default_notice({"name": "SGD"}) == default_notice({"name": "Muon"}) == ""
