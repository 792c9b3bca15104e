"""A checkpoint of Muon whose settings or state are damaged is refused with the reason, never taken up otherwise."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from gnoise.errors import UserError
from gnoise.models.moments import optimizer_state
from gnoise.models.muons import MuonStep
from gnoise.models.steps import optimizer_steps
from gnoise.trials.optimizers import settings_of
from tests.trials.muon_makers import moonlights


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 5, bias=False))


def states(module: nn.Module, *optimizers: torch.optim.Optimizer) -> list[dict[str, Any]]:
    for _ in range(2):
        module(torch.randn(3, 4)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    return [optimizer.state_dict() for optimizer in optimizers]


def parts(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Vectors, and matrices."""
    return [x for x in module.parameters() if x.ndim < 2], [x for x in module.parameters() if x.ndim == 2]


def of_torch(module: nn.Module) -> list[dict[str, Any]]:
    vectors, matrices = parts(module)
    return states(module, torch.optim.AdamW(vectors), torch.optim.Muon(matrices))


@pytest.mark.parametrize("value", [None, "0.9", math.nan, math.inf, -0.5, 1.0, 10**400, [0.9], torch.zeros(3), 1j])
def test_a_momentum_that_is_none_is_refused(value: object) -> None:
    module = network()
    held = of_torch(module)
    held[1]["param_groups"][0]["momentum"] = value
    steps = optimizer_steps({"optimizers": held}, module)
    assert not steps.by_name
    with pytest.raises(
        UserError, match=r"steps 0.weight \(6 × 4\) by Muon with momentum .*, which no step can be taken"
    ):
        settings_of({"name": "Muon"}, steps)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (0, "lr", "x"),
        (0, "betas", (0.9, 1.0)),
        (0, "betas", (math.nan, 0.9)),
        (0, "eps", -1.0),
        (0, "weight_decay", None),
        (0, "amsgrad", torch.zeros(2)),
        (1, "ns_steps", 1000),
        (1, "ns_steps", 2.5),
        (1, "ns_steps", math.nan),
        (1, "ns_coefficients", (1.0, "2", 3.0)),
        (1, "adjust_lr_fn", "another"),
        (1, "nesterov", "False"),
    ],
)
def test_so_is_every_other_setting(place: int, key: str, value: object) -> None:
    module = network()
    held = of_torch(module)
    held[place]["param_groups"][0][key] = value
    steps = optimizer_steps({"optimizers": held}, module)
    assert not steps.by_name
    assert f" with {key} " in steps.missing


def test_no_newton_schulz_steps_are_none_and_not_five() -> None:
    module = network()
    held = of_torch(module)
    held[1]["param_groups"][0]["ns_steps"] = 0
    step = optimizer_steps({"optimizers": held}, module).by_name["0.weight"]
    assert isinstance(step, MuonStep)
    assert step.ns_steps == 0


def test_muon_without_the_state_of_the_adamw_beside_it_is_refused() -> None:
    module = network()
    assert "does not tell which parameter" in optimizer_steps({"optimizers": of_torch(module)[1:]}, module).missing
    matrices = [(name, x) for name, x in module.named_parameters() if x.ndim == 2]
    (named,) = states(module, torch.optim.Muon(matrices))
    assert optimizer_steps({"optimizer": named}, module).missing == "whose state leaves out 0.bias"


def test_what_adamw_keeps_of_some_matters_not_for_the_others() -> None:
    module = network()
    assert optimizer_state(of_torch(module)[:1], module) == {}


def test_momentum_of_another_shape_is_not_taken() -> None:
    module = network()
    (held,) = states(module, moonlights(*parts(module)[::-1]))
    held["state"][0]["momentum_buffer"] = torch.ones(1)
    assert optimizer_state(held, module) == {}


@pytest.mark.parametrize("params", [[[0]], [{}], [None]])
def test_groups_without_numbers_are_no_state(params: list[object]) -> None:
    assert not optimizer_steps({"state": {}, "param_groups": [{"params": params, "ns_steps": 5}]}, network()).by_name
