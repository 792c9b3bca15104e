"""What rounding may and may not do: half precisions, gradients that cancel, and checks that still see what is wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.draws import DrawEngine
from gnoise.collect.layers import trainable_parameters
from gnoise.collect.per_example import LAYERS, Loss, Method, measure, per_example_sq_norms
from gnoise.collect.per_example.form import Outer, outer_sq_norms
from gnoise.collect.per_example.graph import graph_of
from gnoise.collect.per_example.loop import loop
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch, Workload
from gnoise.errors import UserError
from tests.collect.test_per_example import B, squared_outputs

HALF = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)


class Attentive(nn.Module):
    """Recurrence and torch's attention, which both need a pass per example, between layers that need none."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.into = nn.Linear(width, width)
        self.rnn = nn.LSTM(width, width, batch_first=True)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.out = nn.Linear(width, 4)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.rnn(torch.tanh(self.into(x_BTD)))[0]
        return self.out(self.attention(x_BTD, x_BTD, x_BTD, need_weights=False)[0])


def under_autocast(half: torch.dtype, *, times: Callable[[Batch], float] = lambda batch: 1.0) -> Loss:
    def loss(module: nn.Module, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=half):
            return squared_outputs(module, batch).float() * times(batch)

    return loss


def engine(module: nn.Module, loss: Loss) -> DrawEngine:
    return DrawEngine(Workload(module, loss, lambda examples, seed: iter(())), trainable_parameters(module))


@HALF
@pytest.mark.parametrize("seed", range(3))
def test_autocast_is_judged_by_the_precision_it_computes_in(half: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    module, batch = Attentive(), torch.randn(B, 5, 16)
    measured = measure(module, under_autocast(half), batch, layers=LAYERS)
    assert {name.partition(".")[0] for name, x in measured.methods.items() if Method.LOOP in x} >= {"rnn"}
    exact = measure(module, squared_outputs, batch, layers=LAYERS).sq_norms
    whole = torch.stack([*exact.values()]).sum(0)
    for name, norms in measured.sq_norms.items():
        assert ((norms - exact[name]).abs() <= 0.1 * exact[name] + 1e-3 * whole).all(), name
    made = engine(module, under_autocast(half))
    with made.attached():
        made.check(batch)


@HALF
def test_half_precision_does_not_hide_a_sum_among_many_layers(half: torch.dtype) -> None:
    torch.manual_seed(1)
    deep = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Tanh()) for _ in range(60)])
    for layer in deep.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
    batch, summed = torch.randn(B, 6), under_autocast(half, times=lambda x: 1.0 + 0.15 * (len(x) > 1))
    per_example_sq_norms(deep, under_autocast(half), batch)
    with pytest.raises(UserError, match="example_weights"):
        per_example_sq_norms(deep, summed, batch)
    made = engine(deep, summed)
    with made.attached(), pytest.raises(UserError, match="expected"):
        made.check(batch)


class Keys(nn.Module):
    """Attention whose key bias moves every score of a query alike, to which a softmax is blind."""

    def __init__(self, width: int = 16, *, by_layer: bool = True) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.by_layer = by_layer

    def forward(self, x_BTD: Tensor) -> Tensor:
        keys = self.key(x_BTD) if self.by_layer else functional.linear(x_BTD, self.key.weight, self.key.bias)
        return functional.scaled_dot_product_attention(self.query(x_BTD), keys, self.value(x_BTD))


@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("by_layer", [True, False])
@pytest.mark.parametrize("trained", ["key.bias", "bias", ""], ids=["alone", "biases", "all"])
def test_gradients_that_are_nothing_but_rounding_pass(half: torch.dtype | None, by_layer: bool, trained: str) -> None:
    torch.manual_seed(10)
    module, batch = Keys(by_layer=by_layer), torch.randn(6, 5, 16)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.endswith(trained))
    loss = squared_outputs if half is None else under_autocast(half)
    norms = per_example_sq_norms(module, loss, batch)["key.bias"]
    size = float(torch.autograd.grad(squared_outputs(module, batch), [module.key.bias])[0].norm())
    assert float(norms.max()) ** 0.5 < 1.0
    assert size < 1e-6
    made = engine(module, loss)
    with made.attached():
        made.check(batch)

    def twice(network: nn.Module, x: Batch) -> Tensor:
        return loss(network, x) * (1.0 + (len(x) > 1))

    if trained != "key.bias":  # and what is more than rounding is still seen
        with pytest.raises(UserError, match="example_weights"):
            per_example_sq_norms(module, twice, batch)
        doubled = engine(module, twice)
        with doubled.attached(), pytest.raises(UserError, match="expected"):
            doubled.check(batch)


def test_a_bias_before_instance_normalisation_passes() -> None:
    torch.manual_seed(11)
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.SiLU())
    module[0].weight.requires_grad_(False)
    norms = per_example_sq_norms(module, squared_outputs, torch.randn(6, 2, 8, 8))
    assert list(norms) == ["0.bias"]
    assert float(norms["0.bias"].max()) < 1e-8


@HALF
@pytest.mark.parametrize("kept", ["half", "float"])
def test_the_mean_of_many_examples_does_not_vanish(half: torch.dtype, kept: str) -> None:
    torch.manual_seed(12)
    examples = 4096
    module = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    ids = torch.randint(0, 9, (examples, 2))

    def small(network: nn.Module, x: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=half, enabled=kept == "float"):
            return 1e-3 * squared_outputs(network, x)

    exact = per_example_sq_norms(module, small if kept == "half" else lambda m, x: 1e-3 * squared_outputs(m, x), ids)
    network = module.to(half) if kept == "half" else module
    parameters = dict(network.named_parameters())
    drawn = Stream(network, small, parameters, LAYERS).draw(ids)
    assert drawn is not None
    grads = torch.autograd.grad(1e-3 * squared_outputs(module.float(), ids), list(module.parameters()))
    for (name, expected), grad in zip(exact.items(), grads, strict=True):
        for found in (per_example_sq_norms(network, small, ids, check=False)[name], drawn.sq_norms[name]):
            torch.testing.assert_close(
                found.sqrt(), expected.sqrt(), rtol=0.1, atol=0.02 * float(expected.max()) ** 0.5
            )
        assert float((drawn.grads[name] - grad).norm()) < 0.05 * float(grad.norm()), name


def test_other_precisions_are_not_scaled() -> None:
    torch.manual_seed(13)
    seen: list[float] = []

    def loss(network: nn.Module, x: Batch) -> Tensor:
        value = squared_outputs(network, x)
        value.register_hook(lambda grad: seen.append(float(grad)))
        return value

    per_example_sq_norms(nn.Linear(4, 4), loss, torch.randn(100, 4), check=False)
    per_example_sq_norms(nn.Linear(4, 4).bfloat16(), loss, torch.randn(100, 4).bfloat16(), check=False)
    assert set(seen) == {1.0}


def test_sums_that_torch_loses_in_half_precision_are_named() -> None:
    torch.manual_seed(14)
    module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).bfloat16()
    batch = torch.randn(8, 2048, 8).bfloat16()
    with pytest.raises(UserError, match="or float32"):
        per_example_sq_norms(module, squared_outputs, batch)


def test_full_precision_keeps_its_own_tolerance() -> None:
    torch.manual_seed(2)
    module, batch = Attentive(), torch.randn(B, 5, 16)

    def slightly_unequal(network: nn.Module, x: Batch) -> Tensor:
        return squared_outputs(network, x) * (1.0 + 0.01 * (len(x) > 1))

    assert graph_of(squared_outputs(module, batch)).rounding == torch.finfo(torch.float32).eps
    assert graph_of(under_autocast(torch.bfloat16)(module, batch)).rounding == torch.finfo(torch.bfloat16).eps
    with pytest.raises(UserError, match=r"1\.01 times"):
        per_example_sq_norms(module, slightly_unequal, batch)
    made = engine(module, slightly_unequal)
    with made.attached(), pytest.raises(UserError, match=r"1\.01 times"):
        made.check(batch)


@pytest.mark.parametrize("check", [True, False])
def test_a_cast_that_autocast_shares_hides_no_use(check: bool) -> None:
    class Borrowed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(torch.tanh(self.linear(x)), self.linear.weight)

    torch.manual_seed(3)
    module, batch = Borrowed(), torch.randn(B, 3, 8)
    loss = under_autocast(torch.bfloat16)
    measured = measure(module, loss, batch, layers=LAYERS, check=check)
    assert Method.LOOP in measured.methods["linear.weight"]
    expected = loop(module, loss, batch, dict(module.named_parameters()), [1.0] * B).sq_norms
    for name, norms in measured.sq_norms.items():
        torch.testing.assert_close(norms, expected[name], rtol=0.05, atol=0)


def test_layers_called_twice_under_autocast_need_no_loop() -> None:
    torch.manual_seed(4)
    layer = nn.Linear(8, 8)
    module = nn.Sequential(layer, nn.Tanh(), layer)
    measured = measure(module, under_autocast(torch.bfloat16), torch.randn(B, 3, 8), layers=LAYERS, check=False)
    assert all(Method.LOOP not in methods for methods in measured.methods.values())


@pytest.mark.parametrize("total", [True, False])
def test_tokens_that_cancel_keep_their_digits(total: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    common = torch.randn(3, 1, 40, generator=generator)
    signs = torch.tensor([1.0, -1.0] * 4)[:, None]
    left = 100.0 * signs * (common + 1e-5 * torch.randn(3, 8, 40, generator=generator))
    left[1] = torch.randn(8, 40, generator=generator)  # and an example that does not cancel
    right = torch.ones(3, 8, 50) + 1e-5 * torch.randn(3, 8, 50, generator=generator)
    expected = torch.einsum("btr,btc->brc", left.double(), right.double()).square().sum((1, 2))
    zeros = torch.zeros(40, 50) if total else None
    found = outer_sq_norms(Outer(left, right), Method.GRAM, total_RC=zeros)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)
    if zeros is not None:
        torch.testing.assert_close(zeros, torch.einsum("btr,btc->rc", left, right), rtol=1e-4, atol=1e-3)


def test_cancelling_gradients_of_a_layer_are_formed_after_all() -> None:
    torch.manual_seed(6)
    module = nn.Linear(64, 64)
    batch = torch.ones(B, 8, 64) + 1e-3 * torch.randn(B, 8, 64)
    signs = torch.tensor([1.0, -1.0] * 4)[:, None]

    def loss(network: nn.Module, x: Batch) -> Tensor:
        assert isinstance(x, Tensor)
        return (signs * network(x)).sum((1, 2)).mean()

    measured = measure(module, loss, batch, layers=LAYERS)
    assert measured.methods["weight"] == frozenset({Method.GRAM})
    expected = (signs * batch.double()).sum(1).square().sum(1) * 64
    torch.testing.assert_close(measured.sq_norms["weight"].double(), expected, rtol=1e-3, atol=0)


class TiedUndone(nn.Module):
    """A table of two rows whose use as a matrix undoes, but for a little, what its lookups do."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 6)
        self.head = nn.Linear(6, 2, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids_BT: Tensor) -> Tensor:
        looked_up = self.table(ids_BT)
        picked = functional.one_hot(ids_BT, 2).to(looked_up)
        return (looked_up - (1.0 - 1e-5)).sum((1, 2)) - (self.head(torch.ones_like(looked_up)) * picked).sum((1, 2))


@pytest.mark.parametrize("check", [True, False])
def test_a_tied_table_that_cancels_goes_through_the_loop(check: bool) -> None:
    torch.manual_seed(7)
    module, ids = TiedUndone(), torch.randint(0, 2, (B, 5))

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, Tensor)
        return (network(batch) + 1e-4 * network.get_submodule("table")(batch).square().sum((1, 2))).mean()

    measured = measure(module, loss, ids, layers=LAYERS, check=check)
    expected = loop(module, loss, ids, dict(module.named_parameters()), [1.0] * B).sq_norms
    torch.testing.assert_close(measured.sq_norms["table.weight"], expected["table.weight"], rtol=1e-3, atol=0)


@pytest.mark.parametrize("check", [True, False])
def test_images_stored_channels_last(check: bool) -> None:
    torch.manual_seed(8)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batch = torch.randn(B, 3, 9, 8).contiguous(memory_format=torch.channels_last)
    parameters = dict(module.named_parameters())
    measured = measure(module, squared_outputs, batch, layers=LAYERS, check=check)
    drawn = Stream(module, squared_outputs, parameters, LAYERS).draw(batch)
    assert drawn is not None
    grads = torch.autograd.grad(squared_outputs(module, batch), list(parameters.values()))
    expected = loop(module, squared_outputs, batch, parameters, [1.0] * B).sq_norms
    for (name, norms), grad in zip(expected.items(), grads, strict=True):
        torch.testing.assert_close(measured.sq_norms[name], norms, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(drawn.sq_norms[name], norms, rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(drawn.grads[name], grad, rtol=1e-5, atol=1e-6)


def test_weights_stored_transposed() -> None:
    torch.manual_seed(9)
    module = nn.Linear(5, 7)
    module.weight = nn.Parameter(torch.randn(5, 7).mT)
    parameters, batch = dict(module.named_parameters()), torch.randn(B, 3, 5)
    drawn = Stream(module, squared_outputs, parameters, LAYERS).draw(batch)
    assert drawn is not None
    grads = torch.autograd.grad(squared_outputs(module, batch), list(parameters.values()))
    for name, grad in zip(parameters, grads, strict=True):
        torch.testing.assert_close(drawn.grads[name], grad)
