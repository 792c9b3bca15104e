"""Per-example norms of every type of layer, against one backward pass per example."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gnoise.collect.per_example import LAYERS, Measured, Method, measure, per_example_sq_norms
from gnoise.collect.per_example.loop import loop
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch
from gnoise.errors import UserError
from tests.collect.sums import assert_adds_up
from tests.collect.workloads import TiedModel, cross_entropy

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
B = 4


def squared_outputs(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, Tensor)
    output = module(batch)
    return (output + 0.3).square().flatten(1).sum(1).mean()


def agree(module: nn.Module, loss, batch: Batch, *, weights: list[float] | None = None, check: bool = True) -> Measured:
    """Measure, compare every norm with the loop's, and return what was measured."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    measured = measure(module, loss, batch, layers=LAYERS, example_weights=weights, check=check)
    examples = len(next(iter(measured.sq_norms.values())))
    expected = loop(module, loss, batch, parameters, [1.0] * examples).sq_norms
    assert list(measured.sq_norms) == list(parameters)
    # Rounding of what cancels (a bias under a softmax) is judged against the whole gradient.
    whole = torch.stack([*expected.values()]).double().sum(0)
    for name, got in measured.sq_norms.items():
        tolerance = TOLERANCE[parameters[name].dtype]
        assert got.shape == (examples,)
        error = (got.double() - expected[name].double()).abs()
        assert (error <= tolerance * expected[name].double() + 1e-4 * tolerance * whole).all(), (name, error)
    if weights is None:
        assert_stream_agrees(module, loss, batch, measured)
        assert_adds_up(module, loss, batch, examples)
    return measured


def assert_stream_agrees(module: nn.Module, loss, batch: Batch, measured: Measured) -> None:
    """Take gradient and norms from one pass, wherever no parameter needs the loop."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    found = Stream(module, loss, parameters, LAYERS).draw(batch)
    assert (found is None) == any(Method.LOOP in methods for methods in measured.methods.values())
    if found is None:
        return
    value = loss(module, batch)
    grads = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
        tolerance = TOLERANCE[parameter.dtype]
        torch.testing.assert_close(found.sq_norms[name], measured.sq_norms[name], rtol=tolerance, atol=tolerance)
        got = found.grads.get(name, torch.zeros_like(parameter))
        torch.testing.assert_close(got, grad, rtol=tolerance, atol=tolerance, check_dtype=False)


def assert_one_pass(measured: Measured, *but: str) -> None:
    looped = {name for name, methods in measured.methods.items() if Method.LOOP in methods}
    assert looped == set(but)


class Transposed(nn.Module):
    """Sequence first, as recurrent code has it: examples along dimension 1."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.norm = nn.LayerNorm(6)
        self.out = nn.Linear(6, 3)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.out(self.norm(self.embed(ids_BT.mT))).transpose(0, 1)


class Positions(nn.Module):
    """A position table looked up once for all examples, a sliced one, a class token, a gate and a bare bias."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.wpe = nn.Embedding(8, width)
        self.table = nn.Parameter(torch.randn(8, width))
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.gate = nn.Parameter(torch.randn(width))
        self.scalar = nn.Parameter(torch.tensor(0.7))
        self.bias = nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, 3)

    def forward(self, x_BTD: Tensor) -> Tensor:
        tokens = x_BTD.shape[1]
        x_BTD = x_BTD + self.wpe(torch.arange(tokens)) + self.table[:tokens]
        x_BTD = torch.cat([self.token.expand(len(x_BTD), -1, -1), x_BTD], dim=1)
        return self.out(torch.tanh(self.gate * x_BTD + self.bias) * self.scalar)


class Twice(nn.Module):
    """Layers called twice, and one whose weight is also used without the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.norm = nn.LayerNorm(5)
        self.borrowed = nn.Linear(5, 5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.norm(torch.tanh(self.linear(self.norm(torch.tanh(self.linear(x_BTD))))))
        return functional.linear(self.borrowed(x_BTD), self.borrowed.weight)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.out(self.rnn(x_BTD)[0])


class Shifted(nn.RMSNorm):
    """Called a norm, but does something else: the name must not be believed."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, torch.exp(self.weight), self.eps)


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6).eval(),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, (3, 1), padding="same", groups=2),
        nn.GroupNorm(4, 8),
        nn.Conv2d(8, 4, 3, dilation=2, padding=2, padding_mode="circular"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        pytest.param(lambda: nn.Linear(5, 7), (B, 5), id="linear-2d"),
        pytest.param(lambda: nn.Linear(5, 7, bias=False), (B, 3, 5), id="linear-3d"),
        pytest.param(lambda: nn.Linear(5, 7), (B, 2, B, 5), id="linear-4d"),
        pytest.param(lambda: nn.Linear(3, 2), (B, 90, 3), id="linear-many-tokens"),
        pytest.param(lambda: nn.Linear(3, 2), (B, B, 3), id="tokens-as-many-as-examples"),
        pytest.param(lambda: nn.LayerNorm(5), (B, 3, 5), id="layer-norm"),
        pytest.param(lambda: nn.LayerNorm((3, 5), bias=False), (B, 2, 3, 5), id="layer-norm-two-axes"),
        pytest.param(lambda: nn.RMSNorm(5), (B, 3, 5), id="rms-norm"),
        pytest.param(lambda: nn.GroupNorm(2, 6), (B, 6, 3), id="group-norm"),
        pytest.param(lambda: nn.GroupNorm(2, 6), (B, 6), id="group-norm-flat"),
        pytest.param(lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (B, 4, 9), id="conv1d"),
        pytest.param(lambda: nn.Conv1d(4, 4, 4, groups=4), (B, 4, 9), id="conv1d-depthwise"),
        pytest.param(conv_net, (B, 3, 9, 8), id="conv-net"),
        pytest.param(Positions, (B, 5, 6), id="positions"),
        pytest.param(Positions, (B, B, 6), id="positions-as-many-as-examples"),
    ],
)
def test_equals_one_backward_per_example(module, shape: tuple[int, ...], dtype: torch.dtype, check: bool) -> None:
    torch.manual_seed(0)
    network = module().to(dtype)
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    assert_one_pass(agree(network, squared_outputs, torch.randn(shape, dtype=dtype), check=check))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("tokens", [3, 40])
def test_tied_embedding_has_its_cross_term(dtype: torch.dtype, tokens: int) -> None:
    torch.manual_seed(1)
    module = TiedModel(vocab=7, length=tokens).to(dtype)
    ids = torch.randint(0, 7, (B, tokens))
    measured = agree(module, cross_entropy, (ids, torch.randint(0, 7, (B, tokens))))
    assert_one_pass(measured)
    assert Method.SEGMENTS in measured.methods["wte.weight"]
    assert len(measured.methods["wte.weight"]) == 2
    assert "lm_head.weight" not in measured.sq_norms
    assert "frozen" not in measured.sq_norms


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding_leaves_padding_out(padding_idx: int | None) -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Embedding(5, 3, padding_idx=padding_idx), nn.Linear(3, 2))
    assert_one_pass(agree(module, squared_outputs, torch.randint(0, 5, (B, 9))))


def test_examples_may_lie_along_another_dimension() -> None:
    torch.manual_seed(3)
    assert_one_pass(agree(Transposed(), squared_outputs, torch.randint(0, 9, (B, 6))))


def test_repeated_calls_meet_in_cross_terms_and_borrowed_weights_go_through_the_loop() -> None:
    torch.manual_seed(4)
    assert_one_pass(agree(Twice(), squared_outputs, torch.randn(B, 3, 5)), "borrowed.weight")


@pytest.mark.parametrize("check", [True, False])
def test_unknown_layers_go_through_the_loop(check: bool) -> None:
    torch.manual_seed(5)
    measured = agree(Recurrent(), squared_outputs, torch.randn(B, 3, 5), check=check)
    assert_one_pass(measured, "rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0")


@pytest.mark.parametrize("check", [True, False])
def test_a_norm_is_not_taken_at_its_name(check: bool) -> None:
    torch.manual_seed(14)
    norm = nn.Sequential(nn.Linear(5, 5), Shifted(5))
    assert_one_pass(agree(norm, squared_outputs, torch.randn(B, 3, 5), check=check), "1.weight")


def test_subclasses_with_another_forward_are_not_taken_for_their_parents() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return functional.linear(x, 2 * self.weight, self.bias)

    torch.manual_seed(6)
    measured = agree(Doubled(4, 3), squared_outputs, torch.randn(B, 4), check=False)
    assert Method.LOOP in measured.methods["weight"]


@pytest.mark.parametrize("check", [True, False])
def test_a_module_with_a_forward_of_its_own_goes_through_the_loop(check: bool) -> None:
    torch.manual_seed(6)
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    linear, norm = module[0], module[1]
    weight, scale = linear.get_parameter("weight"), norm.get_parameter("weight")
    linear.forward = lambda x: functional.linear(x, 2.0 * weight)
    norm.forward = lambda x: functional.layer_norm(x, (5,), scale.exp())
    measured = agree(module, squared_outputs, torch.randn(B, 3, 4), check=check)
    looped = {name for name, methods in measured.methods.items() if Method.LOOP in methods}
    assert looped >= {"0.weight", "1.weight"}
    assert not {name for name in looped if name.startswith("2.")}


def test_hooks_that_change_an_output_come_after_the_layer() -> None:
    torch.manual_seed(15)
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    module[0].register_forward_hook(lambda layer, args, output: 3 * output)
    assert_one_pass(agree(module, squared_outputs, torch.randn(B, 4), check=False))


def test_unused_parameters_have_zeros_and_frozen_ones_are_left_out() -> None:
    module = nn.ModuleDict({"used": nn.Linear(4, 4), "unused": nn.Linear(2, 2), "partly": nn.Linear(4, 4)})
    module["partly"].weight.requires_grad_(False)
    measured = agree(module, lambda m, b: squared_outputs(nn.Sequential(m["used"], m["partly"]), b), torch.randn(B, 4))
    assert torch.equal(measured.sq_norms["unused.weight"], torch.zeros(B))
    assert measured.methods["unused.bias"] == frozenset({Method.UNUSED})
    assert "partly.weight" not in measured.sq_norms
    assert_one_pass(measured)


def masked_token_mean(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, dict)
    errors = (module(batch["x"]).sum(-1) - batch["y"]).square()
    return (errors * batch["mask"]).sum() / batch["mask"].sum()


def test_weights_take_account_of_masks_and_sums() -> None:
    torch.manual_seed(7)
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    counts = torch.tensor([1, 5, 3, 2])
    mask = (torch.arange(5) < counts[:, None]).float()
    batch: Batch = {"x": torch.randn(B, 5, 4), "y": torch.randn(B, 5), "mask": mask}
    agree(module, masked_token_mean, batch, weights=(counts / counts.sum()).tolist())
    agree(module, lambda m, b: (m(b).square()).sum(), torch.randn(B, 4), weights=[1.0] * B)
    with pytest.raises(UserError, match="example_weights"):
        per_example_sq_norms(module, masked_token_mean, batch)
    with pytest.raises(UserError, match="example_weights"):
        per_example_sq_norms(Recurrent(), lambda m, b: 2 * squared_outputs(m, b) * len(b), torch.randn(B, 3, 5))
    with pytest.raises(UserError, match=r"4 positive example weights.*try"):
        per_example_sq_norms(module, masked_token_mean, batch, example_weights=[1.0, 0.0, 1.0, 1.0])


def test_layers_that_mix_examples_are_refused() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            return y - y.mean(0)

    with pytest.raises(UserError, match="mix examples"):
        per_example_sq_norms(Mixing(), squared_outputs, torch.randn(B, 4))


@pytest.mark.parametrize(
    ("layer", "advice"),
    [
        (lambda: nn.BatchNorm2d(4), r"training mode.*\.eval\(\)"),
        (lambda: nn.BatchNorm2d(4, affine=False), r"training mode.*\.eval\(\)"),
        (lambda: nn.SyncBatchNorm(4), r"training mode.*\.eval\(\)"),
        (lambda: nn.BatchNorm2d(4, track_running_stats=False).eval(), r"without running statistics.*GroupNorm"),
        (lambda: nn.SyncBatchNorm(4, track_running_stats=False).eval(), r"without running statistics.*GroupNorm"),
    ],
)
def test_batch_statistics_are_refused(layer, advice: str) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), layer())
    batch, parameters = torch.randn(B, 3, 5, 5), dict(module.named_parameters())
    for check in (True, False):
        with pytest.raises(UserError, match=rf"(?s)batch normalisation (in )?{advice}"):
            per_example_sq_norms(module, squared_outputs, batch, check=check)
    with pytest.raises(UserError, match="batch normalisation"):
        Stream(module, squared_outputs, parameters, LAYERS)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.SyncBatchNorm(4).eval(),
        lambda: nn.BatchNorm2d(4).eval(),
        lambda: nn.InstanceNorm2d(4, affine=True),
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(),
    ],
)
def test_norms_that_keep_examples_apart_are_not_refused(layer, check: bool) -> None:
    torch.manual_seed(7)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), layer())
    agree(module, squared_outputs, torch.randn(B, 3, 5, 5), check=check)


def test_bad_batches_and_losses_say_what_to_try() -> None:
    module = nn.Linear(4, 4)
    with pytest.raises(UserError, match=r"dimension 0.*try"):
        per_example_sq_norms(module, squared_outputs, (torch.ones(3, 4), torch.ones(2)))
    with pytest.raises(UserError, match=r"scalar.*try"):
        per_example_sq_norms(module, lambda m, b: m(b), torch.ones(3, 4))
    with pytest.raises(UserError, match=r"dimension 0.*try"):
        per_example_sq_norms(module, squared_outputs, {"x": torch.ones(3, 4), "name": "x"})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_not_blamed_on_weights(value: float, looped: bool) -> None:
    module = Recurrent() if looped else nn.Linear(5, 4)
    with pytest.raises(UserError, match=r"expected finite gradients.*try"):
        per_example_sq_norms(module, squared_outputs, torch.full((3, 2, 5), value))


def test_everything_is_left_as_found() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.LayerNorm(4).eval())
    gradient = torch.ones_like(module[0].weight)
    module[0].weight.grad = gradient
    alive: list[weakref.ref[Tensor]] = []

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        value = squared_outputs(network, batch)
        alive.append(weakref.ref(value))
        return value

    norms = per_example_sq_norms(module, loss, torch.randn(B, 4))
    assert all(torch.isfinite(x).all() for x in norms.values())
    assert module[0].weight.grad is gradient
    assert torch.equal(gradient, torch.ones(4, 4))
    assert [child.training for child in module] == [True, True, False]
    assert not any(child._forward_hooks for child in module.modules())
    gc.collect()
    assert all(x() is None for x in alive)


@pytest.mark.parametrize("check", [True, False])
def test_dropout_keeps_the_mask_of_the_batch(check: bool) -> None:
    torch.manual_seed(8)
    module = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    batch = torch.randn(B, 6)
    torch.manual_seed(9)
    norms = per_example_sq_norms(module, squared_outputs, batch, check=check)
    torch.manual_seed(9)
    losses = (module(batch) + 0.3).square().sum(1)
    for example in range(B):
        grads = torch.autograd.grad(losses[example], list(module.parameters()), retain_graph=True)
        for name, grad in zip(norms, grads, strict=True):
            assert float(norms[name][example]) == pytest.approx(float(grad.square().sum()), rel=1e-5)


def test_checkpointed_activations() -> None:
    class Checkpointed(TiedModel):
        def forward(self, tokens_BT: Tensor) -> Tensor:
            x_BTD = self.wte(tokens_BT) + self.position
            x_BTD = checkpoint(lambda x: x + torch.tanh(self.h[0](x)), x_BTD, use_reentrant=False)
            return self.lm_head(self.ln(x_BTD))

    torch.manual_seed(10)
    ids = torch.randint(0, 11, (B, 5))
    assert_one_pass(agree(Checkpointed(), cross_entropy, (ids, ids)))


def test_half_precision() -> None:
    half = torch.bfloat16
    torch.manual_seed(12)
    module = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 4))
    batch = torch.randn(B, 3, 16)

    def autocast(network: nn.Module, x: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=half):
            return squared_outputs(network, x).float()

    exact = per_example_sq_norms(module, squared_outputs, batch)
    mixed = per_example_sq_norms(module, autocast, batch)
    low = per_example_sq_norms(module.to(half), lambda m, x: squared_outputs(m, x).float(), batch.to(half))
    for name, expected in exact.items():
        assert mixed[name].dtype == low[name].dtype == torch.float32
        torch.testing.assert_close(mixed[name], expected, rtol=0.1, atol=1e-3 * float(expected.max()))
        torch.testing.assert_close(low[name], expected, rtol=0.1, atol=1e-3 * float(expected.max()))


def test_one_example_and_no_fast_layer_are_the_loop() -> None:
    torch.manual_seed(13)
    module = nn.Linear(3, 2)
    assert set(agree(module, squared_outputs, torch.randn(1, 3)).methods.values()) == {frozenset({Method.LOOP})}
    slow = measure(module, squared_outputs, torch.randn(B, 3), layers=())
    assert slow.methods["weight"] == frozenset({Method.LOOP})
