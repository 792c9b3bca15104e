import copy
import io
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.remedies import (
    REMEDIES,
    Transform,
    adagc,
    chain,
    clip_coordinates,
    clip_global_norm,
    clip_norm,
    clip_value,
    shrink,
    stabilize,
    wrap,
    wrapped,
    zclip,
)

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "muon": lambda p: torch.optim.Muon([x for x in p if x.ndim == 2], lr=0.01),
}
STATEFUL = chain(
    zclip(warmup=3),
    adagc(warmup=2),
    clip_coordinates(3.0),
    shrink("saturating"),
    clip_value([1.0, 2.0, 3.0]),
    stabilize(),
)


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in ((8, 6), (6,), (3, 8))]


def train(params: list[nn.Parameter], optimizer: Optimizer, steps: range, *, missing: int | None = None) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for i, p in enumerate(params):
            grad = torch.empty(p.shape).cauchy_(generator=generator).to(p.dtype)
            p.grad = None if i == missing and step % 2 else grad
        optimizer.step()


def loss_of(params: list[nn.Parameter]) -> Tensor:
    return torch.stack([p.square().sum() for p in params]).sum()


def equal(left: list[nn.Parameter], right: list[nn.Parameter]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_neutral_settings_are_the_bare_optimizer_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    bare, ours = parameters(dtype), parameters(dtype)
    optimizer = OPTIMIZERS[name](ours)
    for place, entry in enumerate(REMEDIES):
        if entry.neutral is not None:
            wrap(optimizer, entry.neutral, name=f"{place}")
    # Limits far away run the arithmetic and still change nothing.
    wrap(optimizer, chain(clip_value(3e38), clip_norm(3e38), clip_global_norm(3e38)), name="far")
    train(bare, OPTIMIZERS[name](bare), range(100))
    train(ours, optimizer, range(100))
    assert equal(bare, ours)


def test_a_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    wrap(optimizer, clip_norm(1.0))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.7, 0.6]))
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("missing", [None, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_resumes_bit_for_bit(dtype: torch.dtype, missing: int | None) -> None:
    whole, halves = parameters(dtype), parameters(dtype)
    optimizer = OPTIMIZERS["adamw"](whole)
    wrap(optimizer, STATEFUL)
    train(whole, optimizer, range(20), missing=missing)

    first = OPTIMIZERS["adamw"](halves)
    wrap(first, STATEFUL)
    train(halves, first, range(9), missing=missing)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = OPTIMIZERS["adamw"](halves)
    wrap(second, STATEFUL)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(halves, second, range(9, 20), missing=missing)
    assert equal(whole, halves)


def test_a_parameter_without_a_gradient_is_passed_over() -> None:
    together, alone = parameters(), parameters()
    optimizer = OPTIMIZERS["sgd"](together)
    made = wrap(optimizer, stabilize())
    train(together, optimizer, range(10), missing=1)
    assert made.state.per_tensor["steps"].tolist() == [10.0, 5.0, 10.0]
    second = OPTIMIZERS["sgd"](alone)
    made_alone = wrap(second, stabilize(), select=[alone[1]])
    train(alone, second, range(10), missing=1)
    assert torch.equal(together[1], alone[1])
    assert made.state.per_tensor["ratio"][1] == made_alone.state.per_tensor["ratio"][0]
    for p in together:
        p.grad = None
    optimizer.step()
    assert made.state.per_tensor["steps"].tolist() == [10.0, 5.0, 10.0]


def test_states_of_bare_and_wrapped_optimizers_load_into_each_other() -> None:
    params = parameters()
    bare, ours = OPTIMIZERS["adamw"](params), OPTIMIZERS["adamw"](params)
    made = wrap(ours, stabilize())
    train(params, ours, range(3))
    bare.load_state_dict(ours.state_dict())
    ours.load_state_dict(bare.state_dict())
    assert made.state is None


def test_another_state_is_refused() -> None:
    params = parameters()
    optimizer, other = OPTIMIZERS["sgd"](params), OPTIMIZERS["sgd"](params)
    wrap(optimizer, stabilize())
    train(params, optimizer, range(1))
    wrap(other, adagc())
    with pytest.raises(UserError, match="expected the saved state of this remedy"):
        other.load_state_dict(optimizer.state_dict())


def test_removing_gives_the_bare_optimizer_back() -> None:
    bare, ours = parameters(), parameters()
    optimizer = OPTIMIZERS["momentum"](ours)
    made = wrap(optimizer, stabilize(), name="mine")
    assert wrapped(optimizer) == {"mine": made}
    made.remove()
    assert wrapped(optimizer) == {}
    train(ours, optimizer, range(5))
    train(bare, OPTIMIZERS["momentum"](bare), range(5))
    assert equal(bare, ours)
    assert set(optimizer.state_dict()) == {"state", "param_groups"}


def test_selection_by_name_and_by_parameter() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.named_parameters())
    assert wrap(optimizer, clip_norm(1.0), select="1.*", name="a").parameters == (model[1].weight, model[1].bias)
    assert wrap(optimizer, clip_norm(1.0), select=["0.weight", "*.bias"], name="b").parameters == (
        model[0].weight,
        model[0].bias,
        model[1].bias,
    )
    assert wrap(optimizer, clip_norm(1.0), select=list(model[0].parameters()), name="c").parameters == (
        model[0].weight,
        model[0].bias,
    )
    assert wrap(optimizer, clip_norm(1.0), select=[model[1].bias, "0.*"], name="d").parameters == (
        model[1].bias,
        model[0].weight,
        model[0].bias,
    )
    assert wrap(optimizer, clip_norm(1.0), select=model[1].bias, name="e").parameters == (model[1].bias,)


def test_wrong_selections_say_what_to_type() -> None:
    model = nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(model.named_parameters())
    for select in ("wight", ["bias", "*.weight"]):
        with pytest.raises(UserError, match="try 'weight'"):
            wrap(optimizer, clip_norm(1.0), select=select)
    with pytest.raises(UserError, match="try select=None"):
        wrap(optimizer, clip_norm(1.0), select=[])
    with pytest.raises(UserError, match="try select=list"):
        wrap(optimizer, clip_norm(1.0), select=[nn.Parameter(torch.zeros(2))])
    with pytest.raises(UserError, match="named_parameters"):
        wrap(torch.optim.AdamW(model.parameters()), clip_norm(1.0), select="weight")
    wrap(optimizer, clip_norm(1.0))
    with pytest.raises(UserError, match="new name"):
        wrap(optimizer, clip_norm(1.0))


def test_a_closures_gradients_are_transformed_on_every_call() -> None:
    weight = nn.Parameter(torch.tensor([30.0, 40.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    wrap(optimizer, clip_norm(1.0))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 2500.0
    torch.testing.assert_close(weight.detach(), torch.tensor([29.4, 39.2]))
    optimizer.step(closure=closure)
    torch.testing.assert_close(weight.detach(), torch.tensor([28.8, 38.4]))


def test_a_closure_reaches_the_step_as_it_was_given() -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: Callable[[], Tensor] | None = None, times: int = 1, *, late: object = None) -> object:
            given = closure if late is None else late
            self.times = times
            return super().step(given)  # type: ignore[arg-type]

    weight = nn.Parameter(torch.tensor([30.0, 40.0]))
    optimizer = Own([weight], lr=1.0)
    wrap(optimizer, clip_norm(1.0))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure, 3)
    assert optimizer.times == 3
    torch.testing.assert_close(weight.detach(), torch.tensor([29.4, 39.2]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it loads its compiler
@pytest.mark.parametrize("transform", [clip_global_norm(1.0), chain(stabilize(), shrink())], ids=["norm", "chain"])
def test_a_compiled_step_does_the_same(transform: Transform) -> None:
    ours, twin = parameters(), parameters()
    optimizer, other = OPTIMIZERS["momentum"](ours), OPTIMIZERS["momentum"](twin)
    wrap(optimizer, transform)
    wrap(other, transform)
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")
    for step in range(4):
        train(twin, other, range(step, step + 1))
        generator = torch.Generator().manual_seed(step)
        for p in ours:
            p.grad = torch.empty(p.shape).cauchy_(generator=generator)
        compiled()
    assert equal(ours, twin)


def test_groups_that_come_later_are_left_alone() -> None:
    params = parameters()
    optimizer = torch.optim.SGD(params[:1], lr=0.1)
    wrap(optimizer, clip_norm(0.5))
    optimizer.add_param_group({"params": params[1:]})
    train(params, optimizer, range(1))
    assert params[0].grad.norm() <= 0.501
    assert params[1].grad.norm() > 0.6
    wrap(optimizer, clip_norm(0.5), select=params[1:], name="later")
    train(params, optimizer, range(1))
    assert all(p.grad.norm() <= 0.501 for p in params)


def test_copies_of_an_optimizer_are_bare() -> None:
    optimizer = OPTIMIZERS["adamw"](parameters())
    wrap(optimizer, stabilize())
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert wrapped(copied) == {}
        params = copied.param_groups[0]["params"]
        twin = parameters()
        train(params, copied, range(3))
        train(twin, OPTIMIZERS["adamw"](twin), range(3))
        assert equal(params, twin)
    assert list(wrapped(optimizer)) == ["transform"]


def test_sparse_gradients_are_refused() -> None:
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=1.0)
    wrap(optimizer, clip_norm(1.0))
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UserError, match="sparse=False"):
        optimizer.step()


def test_a_scaler_unscales_first() -> None:
    scaled, plain = parameters(), parameters()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    ours, bare = OPTIMIZERS["sgd"](scaled), OPTIMIZERS["sgd"](plain)
    wrap(ours, clip_value(0.25))
    wrap(bare, clip_value(0.25))
    scaler.scale(loss_of(scaled)).backward()
    scaler.unscale_(ours)
    scaler.step(ours)
    scaler.update()
    loss_of(plain).backward()
    bare.step()
    assert equal(scaled, plain)


def test_gradients_that_a_fused_step_would_unscale_are_refused() -> None:
    params = parameters()
    optimizer = torch.optim.AdamW(params, fused=True)
    wrap(optimizer, clip_value(0.25))
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(loss_of(params)).backward()
    with pytest.raises(UserError, match=r"try scaler\.unscale_"):
        scaler.step(optimizer)


def test_a_faint_gradient_in_float16_is_stabilized_too() -> None:
    weight = nn.Parameter(torch.ones(4, dtype=torch.float16))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    wrap(optimizer, stabilize())
    weight.grad = torch.full((4,), 1e-7, dtype=torch.float16)
    optimizer.step()
    torch.testing.assert_close(weight.grad.float(), torch.full((4,), 0.5), rtol=1e-2, atol=0.0)


def test_accumulation_and_schedulers_go_on_as_ever() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    wrap(optimizer, stabilize(max_ratio=math.inf))
    before = model.bias.detach().clone()
    for _ in range(3):
        model(torch.ones(2, 4)).mean().backward()
    optimizer.step()
    scheduler.step()
    torch.testing.assert_close(model.bias.detach(), before - 1.0)
    assert scheduler.get_last_lr() == [0.5]


def test_a_compiled_model_trains_the_same() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(16, 4)
    twin = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    twin.load_state_dict(model.state_dict())
    compiled = torch.compile(twin, backend="aot_eager")
    for forward, module in ((model, model), (compiled, twin)):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
        wrap(optimizer, chain(shrink("saturating", 0.01), stabilize()))
        for _ in range(10):
            optimizer.zero_grad()
            forward(data).square().mean().backward()
            optimizer.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_of_another_kind_are_refused() -> None:
    class Sharded(Tensor):
        pass

    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    wrap(optimizer, clip_norm(1.0))
    weight.grad = torch.ones(2).as_subclass(Sharded)
    with pytest.raises(UserError, match="got Sharded"):
        optimizer.step()


def test_a_parameter_selected_twice_is_transformed_once() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    wrap(optimizer, shrink("saturating", 1.0), select=[weight, weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), -torch.full((2,), 0.5**0.5))


def test_complex_gradients_are_refused() -> None:
    weight = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    wrap(optimizer, clip_value(1.0))
    weight.grad = torch.ones_like(weight)
    with pytest.raises(UserError, match="expected real gradients"):
        optimizer.step()


def test_a_checkpoint_with_something_else_under_the_key() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=1.0)
    wrap(optimizer, clip_value(1.0))
    with pytest.raises(UserError, match="expected states by name"):
        optimizer.load_state_dict({**optimizer.state_dict(), "gnoise.remedies": [1]})
