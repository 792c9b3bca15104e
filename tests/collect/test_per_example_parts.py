"""Batches taken in parts, one example at a time, or one after another: the same norms, whatever is cheaper."""

import pytest
import torch
from torch import nn

from gnoise.collect.per_example import (
    LAYERS,
    Method,
    cost,
    measure,
    per_example_sq_norms,
    stream_per_example_sq_norms,
)
from gnoise.collect.per_example.cost import examples_at_once, prefers_loop
from gnoise.collect.per_example.norms import _over_rms
from gnoise.collect.per_example.stream import Stream
from gnoise.errors import UserError
from tests.collect.test_per_example import (
    B,
    Positions,
    Twice,
    agree,
    assert_one_pass,
    squared_outputs,
)
from tests.collect.workloads import TiedModel, cross_entropy


@pytest.fixture
def four_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_AT_ONCE", 1)


@pytest.mark.usefixtures("four_at_once")
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("examples", [5, 9, 12])
def test_batches_in_parts_add_up_to_the_whole(examples: int, check: bool) -> None:
    torch.manual_seed(17)
    ids = torch.randint(0, 11, (examples, 6))
    assert_one_pass(agree(TiedModel(), cross_entropy, (ids[:, :-1], ids[:, 1:]), check=check))
    agree(Positions(), squared_outputs, torch.randn(examples, 5, 6), check=check)
    agree(Twice(), squared_outputs, torch.randn(examples, 3, 5), check=check)


@pytest.mark.usefixtures("four_at_once")
def test_losses_of_examples_are_joined_over_parts() -> None:
    torch.manual_seed(18)
    module, ids = TiedModel(), torch.randint(0, 11, (9, 6))
    found = Stream(module, cross_entropy, dict(TiedModel.named_parameters(module)), LAYERS).draw(
        (ids[:, :-1], ids[:, 1:])
    )
    assert found is not None
    assert found.losses is not None
    alone = torch.stack([cross_entropy(module, (x[None, :-1], x[None, 1:])) for x in ids])
    torch.testing.assert_close(found.losses.of_each, alone.detach())
    torch.testing.assert_close(found.losses.weights, torch.full((9,), 1 / 9))


@pytest.mark.usefixtures("four_at_once")
def test_other_weights_than_those_of_a_mean_are_not_split() -> None:
    torch.manual_seed(19)
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    agree(module, lambda m, b: m(b).square().sum(), torch.randn(9, 4), weights=[1.0] * 9, check=False)


def test_few_long_examples_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examples_at_once((1, 128, 4096)) == 6
    assert not prefers_loop((1, 128, 4096))
    assert prefers_loop((1, 512, 4096))
    assert not prefers_loop((1, 16, 250_000))  # too few positions to keep a CPU busy
    assert not prefers_loop(())
    monkeypatch.setattr(cost, "_AT_ONCE", 1)
    module, batch = nn.Sequential(nn.Linear(3, 200), nn.LayerNorm(200)), torch.randn(B, 130, 3)
    measured = measure(module, squared_outputs, batch, layers=LAYERS, check=True)
    assert_one_pass(measured)
    looped = measure(module, squared_outputs, batch, layers=LAYERS, check=False)
    assert set(looped.methods.values()) == {frozenset({Method.LOOP})}
    assert Stream(module, squared_outputs, dict(module.named_parameters()), LAYERS).draw(batch) is None
    for name, norms in measured.sq_norms.items():
        torch.testing.assert_close(norms, looped.sq_norms[name], rtol=1e-5, atol=0)


def test_a_stream_checks_its_first_batch_and_follows_changing_shapes() -> None:
    torch.manual_seed(20)
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    batches = [torch.randn(shape) for shape in ((B, 3, 4), (B, 7, 4), (6, 3, 4), (B, 4))]
    for batch, norms in zip(batches, stream_per_example_sq_norms(module, squared_outputs, batches), strict=True):
        expected = per_example_sq_norms(module, squared_outputs, batch)
        assert norms.keys() == expected.keys()
        for name in norms:
            torch.testing.assert_close(norms[name], expected[name], rtol=1e-6, atol=0)
    with pytest.raises(UserError, match="example_weights"):
        next(stream_per_example_sq_norms(module, lambda m, b: squared_outputs(m, b) * len(b), batches))


def test_what_fails_the_first_check_is_never_trusted_again() -> None:
    torch.manual_seed(21)
    module = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    doubled = module[0]
    doubled.forward = lambda x: nn.functional.linear(x, 2.0 * doubled.weight, doubled.bias)  # no longer what it is
    batches = [torch.randn(B, 3, 4) for _ in range(3)]
    found = [*stream_per_example_sq_norms(module, squared_outputs, batches)]
    for batch, sq_norms in zip(batches, found, strict=True):
        expected = measure(module, squared_outputs, batch, layers=())
        for name, ours in sq_norms.items():
            torch.testing.assert_close(ours, expected.sq_norms[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_rms_norms_without_epsilon_have_torch_s(dtype: torch.dtype) -> None:
    torch.manual_seed(22)
    module = nn.RMSNorm(8, eps=None).to(dtype)
    x = torch.full((2, 3, 8), 0.01, dtype=dtype)
    normed = _over_rms(module, x).to(dtype)
    torch.testing.assert_close(normed, module(x).detach(), rtol=4 * torch.finfo(dtype).eps, atol=0)
