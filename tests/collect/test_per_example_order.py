"""Networks that choose, sort, differentiate or multiply on the way: exact, by the loop where need be, or refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gnoise.collect.per_example import LAYERS, Method, measure
from gnoise.errors import UserError
from tests.collect.test_per_example import agree

Pair = tuple[Tensor, Tensor]


def squared_error(module: nn.Module, batch: Pair) -> Tensor:
    return functional.mse_loss(module(batch[0]), batch[1])


class Experts(nn.Module):
    """Top-1 routing of tokens between two experts, put back where they came from."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.last = nn.Linear(4, 1)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_ND = torch.tanh(self.first(x_BTD)).reshape(-1, 4)
        choice_N = (h_ND.detach()[:, 0] > 0).long()
        out_ND = torch.zeros_like(h_ND)
        for number, expert in enumerate(self.experts):
            chosen = (choice_N == number).nonzero().squeeze(1)
            out_ND = out_ND.index_add(0, chosen, expert(h_ND[chosen]))
        return self.last(out_ND.reshape(x_BTD.shape)).squeeze(-1)


class Sorting(nn.Module):
    """Works on examples in the order of their first entry."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort(descending=True)
        return self.last(torch.tanh(self.inner(x[order])))[order.argsort()]


class Gated(nn.Module):
    """Multiplies by a parameter inside of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate, self.last = nn.Linear(4, 4), nn.Parameter(torch.ones(4)), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(lambda y: torch.tanh(self.inner(y)) * self.gate, x, use_reentrant=False))


class Adversarial(nn.Module):
    """Moves its embeddings along the sign of their gradient before the loss that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, ids_BT: Tensor) -> Tensor:
        e_BTD = self.embedding(ids_BT)
        first = functional.cross_entropy(self.head(e_BTD).flatten(0, 1), ids_BT.flatten())
        (toward,) = torch.autograd.grad(first, e_BTD, retain_graph=True)
        return functional.cross_entropy(self.head(e_BTD + 0.1 * toward.sign()).flatten(0, 1), ids_BT.flatten())


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_experts_that_see_a_selection_of_tokens_go_to_the_loop(seed: int, check: bool) -> None:
    torch.manual_seed(seed)
    found = agree(Experts(), squared_error, (torch.randn(5, 4, 4), torch.randn(5, 4)), check=check)
    assert found.methods["experts.0.weight"] == {Method.LOOP}
    assert Method.LOOP not in found.methods["first.weight"] | found.methods["last.weight"]


def test_another_order_inside_is_not_taken_for_the_batchs() -> None:
    torch.manual_seed(2)
    x = torch.randn(6, 4)
    x[0, 0], x[-1, 0] = 9.0, 0.0  # the first stays first, the last does not stay last
    with pytest.raises(UserError, match="the last example's"):
        measure(Sorting(), squared_error, (x, torch.randn(6, 1)), layers=LAYERS)


@pytest.mark.parametrize("check", [True, False])
def test_gates_within_checkpoints_are_read_once(check: bool) -> None:
    torch.manual_seed(3)
    agree(Gated(), squared_error, (torch.randn(6, 4), torch.randn(6, 1)), check=check)


@pytest.mark.parametrize("check", [True, False])
def test_a_loss_may_differentiate_on_its_way(check: bool) -> None:
    torch.manual_seed(4)
    agree(Adversarial(), lambda module, ids: module(ids), torch.randint(0, 7, (6, 5)), check=check)


def steepness(module: nn.Module, batch: Tensor) -> Tensor:
    """Punish every example's gradient with respect to its input for not having length one."""
    inputs = batch.clone().requires_grad_(True)
    values = module(inputs).square().flatten(1).sum(1)
    (slopes,) = torch.autograd.grad(values.sum(), inputs, create_graph=True)
    return values.mean() + (slopes.flatten(1).norm(dim=1) - 1.0).square().mean()


def flatness(module: nn.Module, batch: Tensor) -> Tensor:
    """Punish the gradient of the batch's mean, which is no sum over examples."""
    value = module(batch).square().flatten(1).sum(1).mean()
    grads = torch.autograd.grad(value, list(module.parameters()), create_graph=True)
    return value + torch.stack([grad.square().sum() for grad in grads]).sum()


PENALISED = [
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), (6, 4), id="linear"),
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), (6, 3, 4), id="tokens"),
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)), (6, 4), id="layer-norm"),
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 5), nn.RMSNorm(5), nn.Linear(5, 2)), (6, 4), id="rms-norm"),
    pytest.param(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()), (6, 2, 5, 5), id="conv"),
]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("network", "shape"), PENALISED)
def test_losses_that_contain_gradients_are_measured_one_by_one(network, shape: tuple[int, ...], check: bool) -> None:
    torch.manual_seed(7)
    found = agree(network(), steepness, torch.randn(shape), check=check)
    assert set(found.methods.values()) == {frozenset({Method.LOOP})}


@pytest.mark.parametrize(("network", "shape"), PENALISED)
def test_what_a_penalty_on_the_batchs_gradient_is_for_one_example(network, shape: tuple[int, ...]) -> None:
    torch.manual_seed(8)
    module, batch = network(), torch.randn(shape)
    measured = measure(module, flatness, batch, layers=LAYERS, check=False)
    for example in range(len(batch)):
        grads = torch.autograd.grad(flatness(module, batch[example : example + 1]), list(module.parameters()))
        for norms, grad in zip(measured.sq_norms.values(), grads, strict=True):
            torch.testing.assert_close(norms[example], grad.square().sum(), rtol=1e-5, atol=1e-9)
    with pytest.raises(UserError, match="example_weights"):
        measure(module, flatness, batch, layers=LAYERS)


@pytest.mark.parametrize("check", [True, False])
def test_inputs_may_want_gradients_of_their_own(check: bool) -> None:
    torch.manual_seed(5)
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    agree(module, squared_error, (torch.randn(6, 4, requires_grad=True), torch.randn(6, 1)), check=check)
    encoder = nn.Linear(4, 4)  # trained elsewhere

    def encoded(inner: nn.Module, batch: Pair) -> Tensor:
        return functional.mse_loss(inner(encoder(batch[0])), batch[1])

    agree(module, encoded, (torch.randn(6, 4), torch.randn(6, 1)), check=check)


def test_sums_of_looped_gradients_bear_half_precision() -> None:
    torch.manual_seed(6)

    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return functional.linear(input, 2.0 * self.weight, self.bias)

    module = nn.Sequential(Doubled(4, 4), nn.Linear(4, 1)).bfloat16()
    batch = torch.randn(1024, 4).bfloat16(), torch.randn(1024, 1).bfloat16()
    found = measure(module, squared_error, batch, layers=LAYERS)
    assert found.methods["0.weight"] == {Method.LOOP}
