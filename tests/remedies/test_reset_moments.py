import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.remedies import LayerwiseLR, reset_moments

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "muon": lambda p: torch.optim.Muon(p, lr=0.01),
    "layerwise_lr": lambda p: LayerwiseLR([{"params": p, "geometry": "sign"}], reference=math.inf),
}


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(4, 3))


def train(parameter: nn.Parameter, optimizer: Optimizer, steps: range, *, loud: int | None = None) -> None:
    for step in steps:
        grad = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        parameter.grad = 1000.0 * grad if step == loud else grad
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_a_reset_the_optimizer_is_as_new(name: str) -> None:
    ours, fresh = weight(), weight()
    optimizer = OPTIMIZERS[name]([ours])
    made = reset_moments(optimizer, every=5)
    train(ours, optimizer, range(12))
    assert made.steps == 12
    for steps in (range(5), range(5, 10), range(10, 12)):
        train(fresh, OPTIMIZERS[name]([fresh]), steps)
    assert torch.equal(ours, fresh)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_never_is_the_bare_optimizer(name: str) -> None:
    ours, bare = weight(), weight()
    optimizer = OPTIMIZERS[name]([ours])
    reset_moments(optimizer, every=None)
    train(ours, optimizer, range(100))
    train(bare, OPTIMIZERS[name]([bare]), range(100))
    assert torch.equal(ours, bare)


def test_a_spike_does_not_linger() -> None:
    ours, fresh = weight(), weight()
    optimizer = OPTIMIZERS["adamw"]([ours])
    made = reset_moments(optimizer, every=None, spike=5.0)
    train(ours, optimizer, range(8), loud=7)
    assert made.spikes == 1
    assert 1.0 < made.average < 6.0
    with torch.no_grad():
        fresh.copy_(ours)
    train(ours, optimizer, range(8, 12))
    train(fresh, OPTIMIZERS["adamw"]([fresh]), range(8, 12))
    assert torch.equal(ours, fresh)


def test_what_is_not_finite_is_a_spike() -> None:
    parameter = weight()
    optimizer = OPTIMIZERS["momentum"]([parameter])
    made = reset_moments(optimizer, spike=5.0)
    parameter.grad = torch.full((4, 3), math.nan)
    optimizer.step()
    assert (made.spikes, made.average) == (1, None)
    assert torch.equal(optimizer.state[parameter]["momentum_buffer"], torch.zeros(4, 3))
    parameter.grad = None
    optimizer.step()
    assert made.steps == 2


def test_a_checkpoint_resumes_bit_for_bit() -> None:
    whole, half = weight(), weight()
    optimizer = OPTIMIZERS["adamw"]([whole])
    reset_moments(optimizer, every=4, spike=5.0)
    train(whole, optimizer, range(11), loud=6)
    first = OPTIMIZERS["adamw"]([half])
    reset_moments(first, every=4, spike=5.0)
    train(half, first, range(3))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = OPTIMIZERS["adamw"]([half])
    reset_moments(second, every=4, spike=5.0)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(half, second, range(3, 11), loud=6)
    assert torch.equal(whole, half)


def test_removed_and_refused() -> None:
    parameter = weight()
    optimizer = OPTIMIZERS["adamw"]([parameter])
    made = reset_moments(optimizer, every=2)
    made.remove()
    train(parameter, optimizer, range(5))
    assert made.steps == 0
    assert set(optimizer.state_dict()) == {"state", "param_groups"}
    with pytest.raises(UserError, match="expected every at or above 1, got 0"):
        reset_moments(optimizer, every=0)
    with pytest.raises(UserError, match=r"expected spike above 1, got 0\.5"):
        reset_moments(optimizer, spike=0.5)
