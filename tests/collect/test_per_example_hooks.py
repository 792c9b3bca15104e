"""Networks whose gradients something else changes on the way: hooks, borrowed parameters, operations of one's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gnoise.collect.per_example import LAYERS, Method, measure, stream_per_example_sq_norms
from gnoise.collect.workload import Batch
from tests.collect.test_per_example import B, Measured, agree, assert_one_pass, squared_outputs

CHECK = pytest.mark.parametrize("check", [True, False])


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3))


def looped(measured: Measured) -> set[str]:
    return {name for name, methods in measured.methods.items() if Method.LOOP in methods}


class Hooked(nn.Module):
    """Changes gradients of activations after layers, and after a product, as reversal and clipping do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)
        self.gate = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h.register_hook(lambda grad: -2.0 * grad)
        h = self.norm(torch.tanh(h))
        h.register_hook(lambda grad: 3.0 * grad)
        h = h * self.gate
        h.register_hook(lambda grad: 0.5 * grad)
        return self.last(h)


class Reversed(torch.autograd.Function):
    """Turns the gradient round."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        return -grads[0]


class Adversary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.domain = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.domain(Reversed.apply(self.features(x)))


@CHECK
def test_layers_whose_output_is_hooked_go_to_the_loop(check: bool) -> None:
    torch.manual_seed(0)
    found = agree(Hooked(), squared_outputs, torch.randn(B, 3, 4), check=check)
    assert looped(found) == {"first.weight", "first.bias", "norm.weight", "norm.bias"}


@CHECK
def test_gradients_turned_round_are_followed(check: bool) -> None:
    torch.manual_seed(1)
    assert_one_pass(agree(Adversary(), squared_outputs, torch.randn(B, 3, 4), check=check))


@CHECK
@pytest.mark.parametrize("place", ["0.weight", "1.bias"])
def test_parameters_with_hooks_go_to_the_loop(place: str, check: bool) -> None:
    torch.manual_seed(2)
    module = network()
    module.get_parameter(place).register_hook(lambda grad: 3.0 * grad)
    batch = torch.randn(B, 3, 4)
    values = own_sq_norms(module, batch)
    measured = measure(module, squared_outputs, batch, layers=LAYERS, check=check)
    assert looped(measured) == {place}
    for found in (measured.sq_norms, *stream_per_example_sq_norms(module, squared_outputs, [batch] * 2, check=check)):
        for name, norms in found.items():
            torch.testing.assert_close(norms, values[name], rtol=1e-5, atol=0)


def own_sq_norms(module: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters())
    rows = [torch.autograd.grad(squared_outputs(module, x[None]), list(parameters.values())) for x in batch]
    return {name: torch.stack([grads[i].square().sum() for grads in rows]) for i, name in enumerate(parameters)}


@CHECK
def test_hooks_of_modules_are_followed(check: bool) -> None:
    torch.manual_seed(3)
    module = network()
    module[0].register_forward_pre_hook(lambda layer, args: (2.0 * args[0],))
    module[2].register_full_backward_pre_hook(lambda layer, grads: (3.0 * grads[0],))
    module[1].register_full_backward_hook(lambda layer, grads, outer: (2.0 * grads[0],))
    module[1].register_forward_hook(lambda layer, args, output: 3.0 * output)
    assert_one_pass(agree(module, squared_outputs, torch.randn(B, 3, 4), check=check))


def lent(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Batch], Tensor]:
    """Make a loss that calls the module with changed parameters."""

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        changed = {name: change(x) for name, x in module.named_parameters()}
        assert isinstance(batch, Tensor)
        return (functional_call(module, changed, (batch,)) + 0.3).square().flatten(1).sum(1).mean()

    return loss


@CHECK
@pytest.mark.parametrize("change", [lambda x: 2.0 * x, torch.tanh, lambda x: x + 0.1])
def test_parameters_lent_to_a_call_are_not_the_modules_own(change: Callable[[Tensor], Tensor], check: bool) -> None:
    torch.manual_seed(4)
    found = agree(network(), lent(change), torch.randn(B, 3, 4), check=check)
    assert looped(found) == set(found.methods)


@CHECK
def test_a_modules_own_parameters_lent_to_it_need_no_loop(check: bool) -> None:
    torch.manual_seed(5)
    assert_one_pass(agree(network(), lent(lambda x: x), torch.randn(B, 3, 4), check=check))
