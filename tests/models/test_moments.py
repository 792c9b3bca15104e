"""Adam's second moments come back under the right names."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gnoise.models.moments import optimizer_state, second_moments


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def _plain(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), betas=(0.9, 0.5))


def _named(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(reversed(list(module.named_parameters())), betas=(0.9, 0.5))


def _nanogpt(module: nn.Module) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2]}, {"params": [p for p in parameters if p.ndim < 2]}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.5))


def _steps(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Take two steps; return v̂ by name, from the gradients themselves."""
    grads: list[dict[str, Tensor]] = []
    for seed in range(2):
        optimizer.zero_grad()
        module(torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))).square().mean().backward()
        grads.append({name: p.grad.clone() for name, p in module.named_parameters()})
        optimizer.step()
    first, second = grads
    return {name: (0.25 * first[name] ** 2 + 0.5 * second[name] ** 2) / 0.75 for name in first}


@pytest.mark.parametrize("make", [_plain, _named, _nanogpt])
@pytest.mark.parametrize("key", ["optimizer", "optimizer_state_dict"])
def test_every_parameter_gets_its_own(make: Callable[[nn.Module], torch.optim.Optimizer], key: str) -> None:
    module = _network()
    optimizer = make(module)
    expected = _steps(module, optimizer)
    found = second_moments({"model": {}, key: optimizer.state_dict()}, module)
    assert found.keys() == expected.keys()
    for name, moment in expected.items():
        torch.testing.assert_close(found[name], moment)


def test_sgd_and_absent_state_have_none() -> None:
    module = _network()
    optimizer = torch.optim.SGD(module.parameters(), momentum=0.9)
    _steps(module, optimizer)
    fresh = torch.optim.AdamW(module.parameters()).state_dict()
    for checkpoint in ({"optimizer": optimizer.state_dict()}, {"optimizer": fresh}, {"optimizer": 3}, {}, None):
        assert second_moments(checkpoint, module) == {}


def test_state_of_another_network_is_not_taken() -> None:
    module, other = _network(), nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    optimizer = _plain(other)
    _steps(other, optimizer)
    assert second_moments({"optimizer": optimizer.state_dict()}, module) == {}


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_damaged_state_is_not_taken(value: float) -> None:
    module = _network()
    optimizer = _plain(module)
    _steps(module, optimizer)
    state = optimizer.state_dict()
    state["state"][1]["exp_avg_sq"].fill_(value)
    assert second_moments({"optimizer": state}, module) == {}


@pytest.mark.parametrize("make", [_plain, _named, _nanogpt])
def test_whole_state_comes_back_by_name(make: Callable[[nn.Module], torch.optim.Optimizer]) -> None:
    module = _network()
    optimizer = make(module)
    _steps(module, optimizer)
    found = optimizer_state({"optimizer": optimizer.state_dict()}, module)
    for name, parameter in module.named_parameters():
        assert found[name].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for key, value in found[name].items():
            torch.testing.assert_close(value, optimizer.state[parameter][key])


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", None), ("step", -1.0), ("step", "3"), ("step", 10**400), ("exp_avg", None), ("exp_avg", torch.ones(1)),
     ("exp_avg_sq", None), ("exp_avg_sq", 2.0), ("exp_avg_sq", torch.tensor(-1.0))],
)  # fmt: skip
def test_state_that_no_step_could_be_taken_with_is_not_taken(key: str, value: object) -> None:
    module = _network()
    optimizer = _plain(module)
    _steps(module, optimizer)
    state = optimizer.state_dict()
    state["state"][1] = {name: x for name, x in state["state"][1].items() if name != key}
    if value is not None:
        state["state"][1][key] = value
    assert optimizer_state({"optimizer": state}, module) == {}


def test_momentum_of_sgd_comes_back() -> None:
    module = _network()
    optimizer = torch.optim.SGD(module.parameters(), momentum=0.9)
    _steps(module, optimizer)
    found = optimizer_state({"optimizer": optimizer.state_dict()}, module)
    torch.testing.assert_close(
        found["0.weight"]["momentum_buffer"], optimizer.state[module[0].weight]["momentum_buffer"]
    )
