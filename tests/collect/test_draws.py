import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from gnoise.collect import Parameter, Workload, trainable_parameters
from gnoise.collect.draw import Draw
from gnoise.collect.draws import DrawEngine, prepare
from gnoise.collect.one_by_one import OneByOne
from gnoise.collect.workload import Batch, example_of, examples_in, move
from gnoise.errors import UserError
from tests.collect.workloads import Planted, TiedModel, cross_entropy, tied_workload, token_batches


def test_norms_are_those_of_one_backward_pass_per_example() -> None:
    workload = tied_workload()
    parameters = trainable_parameters(workload.module)
    engine = DrawEngine(workload, parameters)
    batch, _ = next(workload.batches(4, 1))
    with engine.attached():
        draw = engine.draw(batch)
    for example in range(4):
        loss = workload.loss(workload.module, example_of(batch, example))
        grads = torch.autograd.grad(loss, [p.tensor for p in parameters])
        expected = [float(g.double().square().sum()) for g in grads]
        np.testing.assert_allclose(draw.example_sq_norms[:, example], expected, rtol=1e-5)
        assert draw.losses[example] == pytest.approx(loss.item(), rel=1e-6)


def test_a_draw_leaves_the_batch_gradient_and_detaching_leaves_nothing() -> None:
    workload = tied_workload()
    parameters = trainable_parameters(workload.module)
    engine = DrawEngine(workload, parameters)
    batch, _ = next(workload.batches(4, 1))
    expected = torch.autograd.grad(workload.loss(workload.module, batch), [p.tensor for p in parameters])
    with engine.attached():
        engine.draw(batch)
        for parameter, grad in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.tensor.grad, grad, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None and not p._backward_hooks for p in workload.module.parameters())


def drawn(engine: DrawEngine | OneByOne, parameters: list[Parameter], batch: Batch) -> tuple[Draw, list[Tensor]]:
    """Make one draw; return it with its gradient."""
    for parameter in parameters:
        parameter.tensor.grad = None
    with engine.attached():
        draw = engine.draw(batch)
        return draw, [p.tensor.grad.clone() for p in parameters]


def assert_same_draws(module: nn.Module, loss, batch: Batch, *, in_one_pass: bool = True, include: str | None = None):
    """Make the same draw both ways: norms, losses and gradient must be equal."""
    workload = Workload(module, loss, token_batches())
    parameters = trainable_parameters(module, include=include)
    engine = DrawEngine(workload, parameters)
    with engine.attached():
        engine.check(batch)
    assert engine.in_one_pass is in_one_pass
    found, grads = drawn(engine, parameters, batch)
    expected, expected_grads = drawn(OneByOne(workload, parameters), parameters, batch)
    np.testing.assert_allclose(found.example_sq_norms, expected.example_sq_norms, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    for grad, other in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-6)


def test_a_draw_in_one_pass_is_the_draw_made_one_by_one() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (6, 6))
    assert_same_draws(TiedModel(), cross_entropy, (tokens[:, :-1], tokens[:, 1:]))


def test_losses_that_cannot_be_read_are_computed_example_by_example() -> None:
    def smooth(module: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, tuple)
        logits = module(batch[0]).flatten(0, 1)
        return nn.functional.cross_entropy(logits, batch[1].flatten(), label_smoothing=0.1)

    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (6, 6))
    assert_same_draws(TiedModel(), smooth, (tokens[:, :-1], tokens[:, 1:]))


def test_losses_whose_terms_lie_otherwise_are_not_read_wrongly() -> None:
    def tokens_first(module: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, tuple)
        return nn.functional.cross_entropy(module(batch[0]).transpose(0, 1).flatten(0, 1), batch[1].mT.flatten())

    torch.manual_seed(0)
    tokens = torch.randint(0, 11, (6, 6))
    assert_same_draws(TiedModel(), tokens_first, (tokens[:, :-1], tokens[:, 1:]))


def test_layers_that_need_a_pass_per_example_make_every_draw_so() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)
            self.out = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0])

    torch.manual_seed(0)
    assert_same_draws(Recurrent(), lambda m, b: m(b).square().mean(), torch.randn(5, 4, 3), in_one_pass=False)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_draws_in_half_precision_are_added_up_in_float32(half: torch.dtype) -> None:
    torch.manual_seed(0)
    examples = 4096
    module, batch = nn.Linear(4, 3).to(half), (1.0 + 0.1 * torch.randn(examples, 4)).to(half)

    def loss(network: nn.Module, x: Batch) -> Tensor:
        assert isinstance(x, Tensor)
        return network(x).float().sum(1).mean()

    parameters = trainable_parameters(module)
    draw, grads = drawn(OneByOne(Workload(module, loss, token_batches()), parameters), parameters, batch)
    expected = batch.double().mean(0).expand(3, 4), torch.ones(3, dtype=torch.float64)
    for grad, mean in zip(grads, expected, strict=True):
        assert grad.dtype == half
        torch.testing.assert_close(grad.double(), mean, rtol=torch.finfo(half).eps, atol=0)
    assert draw.example_sq_norms.shape == (2, examples)


def test_sparse_gradients_are_written_out() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Linear(4, 2))
    batch = torch.randint(0, 7, (5, 3))
    assert_same_draws(module, lambda m, b: m(b).square().mean(), batch, in_one_pass=False)
    workload = Workload(module, lambda m, b: m(b).square().mean(), token_batches())
    _, grads = drawn(OneByOne(workload, trainable_parameters(module)), trainable_parameters(module), batch)
    expected = torch.autograd.grad(module(batch).square().mean(), list(module.parameters()))
    for grad, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, other.to_dense() if other.is_sparse else other)


def test_only_the_chosen_parameters_are_differentiated() -> None:
    torch.manual_seed(0)
    module = TiedModel()
    tokens = torch.randint(0, 11, (6, 6))
    assert_same_draws(module, cross_entropy, (tokens[:, :-1], tokens[:, 1:]), include=r"^ln\.")
    engine = DrawEngine(Workload(module, cross_entropy, token_batches()), trainable_parameters(module, include="^ln"))
    with engine.attached():
        engine.draw((tokens[:, :-1], tokens[:, 1:]))
        assert [name for name, x in module.named_parameters() if x.grad is not None] == ["ln.weight", "ln.bias"]
    assert [name for name, x in module.named_parameters() if not x.requires_grad] == ["frozen"]


def test_dropout_draws_every_example_its_own_mask() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(TiedModel(), nn.Dropout(0.5)).train()
    workload = Workload(module, cross_entropy, token_batches())
    engine = DrawEngine(workload, trainable_parameters(module))
    batch = torch.zeros(8, 5, dtype=torch.long), torch.ones(8, 5, dtype=torch.long)
    with engine.attached():
        engine.check(batch)
        draw = engine.draw(batch)
    assert engine.in_one_pass
    assert len(np.unique(draw.losses)) == 8


def test_examples_of_unequal_weight_are_refused_in_any_draw() -> None:
    module = TiedModel()
    engine = DrawEngine(Workload(module, cross_entropy, token_batches()), trainable_parameters(module))
    tokens, targets = torch.randint(0, 11, (6, 5)), torch.randint(0, 11, (6, 5))
    with engine.attached():
        engine.check((tokens, targets))
        targets[-1, :2] = -100
        with pytest.raises(UserError, match="one length"):
            engine.draw((tokens, targets))


def test_tied_tensors_stand_once_and_frozen_ones_not_at_all() -> None:
    layers = {p.layer.name: p.layer for p in trainable_parameters(TiedModel())}
    assert layers["wte.weight"].owners == ("wte.weight", "lm_head.weight")
    assert "lm_head.weight" not in layers
    assert "frozen" not in layers
    assert {name: str(x.kind) for name, x in layers.items()} == {
        "position": "other",
        "wte.weight": "embedding",
        "h.0.weight": "other",
        "h.0.bias": "bias",
        "ln.weight": "norm",
        "ln.bias": "norm",
    }
    assert layers["h.0.weight"].depth == 0
    assert layers["wte.weight"].depth is None


def test_include_and_exclude() -> None:
    model = TiedModel()
    assert [p.layer.name for p in trainable_parameters(model, include="head")] == ["wte.weight"]
    assert all("ln" not in p.layer.name for p in trainable_parameters(model, exclude=r"^ln\."))
    with pytest.raises(UserError, match="--include"):
        trainable_parameters(model, include="nothing")
    with pytest.raises(UserError, match="regular expression"):
        trainable_parameters(model, include="(")


def check(module: nn.Module, loss) -> None:
    workload = Workload(module, loss, token_batches())
    engine = DrawEngine(workload, trainable_parameters(module))
    with engine.attached():
        engine.check(next(workload.batches(4, 0))[0])


def test_the_self_check_passes_a_mean_also_with_dropout() -> None:
    check(TiedModel(), cross_entropy)
    check(nn.Sequential(TiedModel(), nn.Dropout(0.5)).train(), cross_entropy)


def test_the_self_check_names_a_sum() -> None:
    def summed(module: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(batch, tuple)
        return nn.functional.cross_entropy(module(batch[0]).flatten(0, 1), batch[1].flatten(), reduction="sum") / 5

    with pytest.raises(UserError, match="sum over 4 examples") as caught:
        check(TiedModel(), summed)
    assert caught.value.exit_code == 3


def test_the_self_check_catches_layers_that_mix_examples() -> None:
    class Mixing(TiedModel):
        def forward(self, tokens_BT: Tensor) -> Tensor:
            logits = super().forward(tokens_BT)
            return logits - logits.mean(0)

    with pytest.raises(UserError, match="mix examples"):
        check(Mixing(), cross_entropy)


def test_a_loss_that_is_no_scalar_is_named() -> None:
    with pytest.raises(UserError, match=r"scalar .* shape \(1, 5, 11\)"):
        check(TiedModel(), lambda module, batch: module(batch[0]))


def test_batch_normalisation_keeps_its_stored_statistics() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.1))
    assert prepare(module, train=True) == ["1"]
    assert [child.training for child in module] == [True, False, True]


def test_an_unused_parameter_has_a_zero_gradient() -> None:
    module = Planted((2,), (3,))
    workload = Workload(module, lambda m, b: (m.weights[0] * b).sum(1).mean(), token_batches())
    engine = DrawEngine(workload, trainable_parameters(module))
    with engine.attached():
        draw = engine.draw(torch.ones(3, 2))
        assert torch.equal(module.weights[1].grad, torch.zeros(3))
    np.testing.assert_allclose(draw.example_sq_norms, [[2.0] * 3, [0.0] * 3])


def test_batches_of_every_form() -> None:
    one, two = torch.arange(6).reshape(3, 2), torch.arange(3)
    assert examples_in(one) == examples_in((one, two)) == examples_in({"a": one, "b": two}) == 3
    assert torch.equal(example_of(one, 1), one[1:2])
    picked = example_of({"a": one, "b": two}, 2)
    assert isinstance(picked, dict)
    assert torch.equal(picked["b"], two[2:])
    assert isinstance(move((one, two), torch.device("cpu")), tuple)
    for bad in ((one, two[:2]), torch.tensor(1.0), ()):
        with pytest.raises(UserError, match="dimension 0"):
            examples_in(bad)


def test_the_self_check_leaves_every_module_in_its_mode() -> None:
    module = nn.Sequential(nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.Flatten(), nn.Dropout(0.1), nn.LazyLinear(1))
    images = torch.randn(6, 1, 5)
    module(images)
    prepare(module, train=True)
    before = [child.training for child in module.modules()]
    workload = Workload(module, lambda m, b: m(b).square().mean(), token_batches())
    engine = DrawEngine(workload, trainable_parameters(module))
    running = module.get_buffer("1.running_mean").clone()
    with engine.attached():
        engine.check(images)
        engine.draw(images)
    assert [child.training for child in module.modules()] == before
    assert torch.equal(module.get_buffer("1.running_mean"), running)


def test_a_wrong_small_layer_is_not_hidden_by_large_ones() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Parameter(torch.randn(1000))
            self.small = nn.Parameter(torch.zeros(1))

        def forward(self, batch: Tensor) -> Tensor:
            mixed = (batch[:, 0] * batch[:, 0].mean()).mean()
            return 10 * (self.large * batch).sum(1).mean() + self.small[0] * mixed

    module = Mixing()
    workload = Workload(module, lambda m, b: m(b), token_batches())
    engine = DrawEngine(workload, trainable_parameters(module))
    with engine.attached(), pytest.raises(UserError, match="they differ in small"):
        engine.check(torch.randn(4, 1000))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_pass_the_self_check(dtype: torch.dtype) -> None:
    module = TiedModel().to(dtype)
    check(module, cross_entropy)


def test_what_the_users_own_code_raises_is_one_clear_error() -> None:
    def broken(module: nn.Module, batch: Batch) -> Tensor:
        raise KeyError("labels")

    with pytest.raises(UserError, match=r"KeyError: 'labels'; try --debug") as caught:
        check(TiedModel(), broken)
    assert caught.value.exit_code == 3


def test_gradients_that_come_in_parts_are_refused() -> None:
    class Checkpointed(TiedModel):
        def forward(self, tokens_BT: Tensor) -> Tensor:
            x_BTD = self.wte(tokens_BT) + self.position
            for _ in range(2):
                x_BTD = torch.utils.checkpoint.checkpoint(self.h[0].forward, x_BTD, use_reentrant=True)
            return self.lm_head(self.ln(x_BTD))

    with pytest.raises(UserError, match="use_reentrant=False"):
        check(Checkpointed(), cross_entropy)
