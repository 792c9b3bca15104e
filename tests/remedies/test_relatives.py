"""Stable-SPAM's two rules, shrinking after momentum, token rows, and clipping by Adam's own second moment, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gnoise import formulas
from gnoise.errors import UserError
from gnoise.remedies import adaclip, adagn, chain, clip_coordinates, momentum, shrink, stabilize, wrap


def over(transform, grads):
    """Run gradients of one tensor; return what comes out."""
    params = [torch.zeros_like(grads[0])]
    state = transform.init(params)
    found = []
    for grad in grads:
        (after,), state = transform.update([grad.clone()], state, params)
        found.append(after.clone())
    return found


def draws(steps: int, shape: tuple[int, ...] = (40,), seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.empty(shape).cauchy_(generator=generator) for _ in range(steps)]


def test_spikes_are_lowered_in_order() -> None:
    x = np.array([0.5, -2.0, 4.0])
    np.testing.assert_allclose(formulas.lower_spikes(x, 1.0, 4.0), [0.5, -0.5, 1.0])
    np.testing.assert_array_equal(formulas.lower_spikes(x, 5.0, 4.0), x)


def test_adaclip_is_its_recursion() -> None:
    average = 0.0
    grads = draws(30)
    for step, (grad, found) in enumerate(zip(grads, over(adaclip(decay=0.9), grads), strict=True), start=1):
        largest = grad.abs().max().double()
        average = 0.9 * average + 0.1 * largest
        bound = average / (1 - 0.9**step)
        expected = torch.where(grad.abs() > bound, grad * bound / largest, grad.double())
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0.0)


def test_adagn_forgets_a_spike_at_once() -> None:
    grads = [torch.tensor([x]) for x in [1.0] * 50 + [1000.0] + [1.0] * 200]
    found = [x.item() for x in over(adagn(), grads)]
    assert found[50] == pytest.approx(0.949, abs=0.001)
    assert found[200:] == pytest.approx([1.0] * 51, abs=0.01)


def test_the_published_spike_of_the_stabilizer() -> None:
    grads = [torch.tensor([x]) for x in [1.0] * 2000 + [1000.0] + [1.0] * 3000]
    found = [x.item() for x in over(stabilize(max_ratio=math.inf), grads)]
    assert found[2000] == pytest.approx(11.8, abs=0.1)
    assert min(found[2020:3020]) > 0.025
    assert max(found[2020:3020]) < 0.07


def test_momentum_is_sgd_momentum_up_to_its_sum() -> None:
    grads = draws(20)
    ours = over(momentum(0.9), grads)
    buffer = torch.zeros(40)
    for step, (grad, found) in enumerate(zip(grads, ours, strict=True), start=1):
        buffer = formulas.sgd_momentum(buffer, grad, 0.9)
        torch.testing.assert_close(found, buffer * 0.1 / (1 - 0.9**step), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(over(momentum(0.0), grads), grads, strict=True))


@pytest.mark.parametrize("name", ["SGD", "Muon"])
def test_shrinking_after_momentum_inside_an_optimizer(name: str) -> None:
    off = {"momentum": 0.0, "nesterov": False}
    grads = draws(10, (6, 5))
    ours, bare = nn.Parameter(torch.zeros(6, 5)), nn.Parameter(torch.zeros(6, 5))
    optimizer, other = (getattr(torch.optim, name)([p], lr=0.1, **off) for p in (ours, bare))
    wrap(optimizer, chain(momentum(0.9), shrink("rational", 0.7)))
    for grad, average in zip(grads, over(momentum(0.9), grads), strict=True):
        ours.grad, bare.grad = grad.clone(), formulas.shrink_rational(average, 0.7)
        optimizer.step()
        other.step()
    torch.testing.assert_close(ours, bare, rtol=1e-4, atol=1e-6)


def test_an_average_outlives_a_gradient_that_is_not_finite() -> None:
    grads = draws(3)
    grads[1][0], grads[1][1] = math.nan, math.inf
    found = over(momentum(0.5), grads)
    assert found[1][0].isnan()
    assert found[2].isfinite().all()


def test_a_loud_row_keeps_its_gradient_and_a_loud_entry_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(50, 64, generator=generator)
    table[7] *= 100.0  # a rare token
    table[9, 3] = 1e4  # a bad entry
    table[11] = 0.0  # a token that did not occur
    (whole,), _ = _once(shrink("saturating", 3.0), table)
    (found,), _ = _once(shrink("saturating", 3.0, rows=True), table)
    kept = torch.nn.functional.cosine_similarity(found[7], table[7], dim=0) * found[7].norm() / table[7].norm()
    assert whole[7].norm() / table[7].norm() < 0.05
    assert 0.6 < kept < 1.0
    assert found[9, 3] < 4.0
    assert (found[11] == 0.0).all()
    quiet = [i for i in range(50) if i not in (7, 9)]
    torch.testing.assert_close(found[quiet], formulas.shrink_saturating(table[quiet], 3.0), rtol=0.1, atol=0.0)


def test_rows_by_hand_whatever_the_shape() -> None:
    grad = torch.tensor([[1.0, -1.0, 1.0], [8.0, 8.0, -8.0]])
    expected = torch.stack([grad[0] / (1 + 1 / 9) ** 0.5, grad[1] / (1 + 1 / 9) ** 0.5])
    for shape in ((2, 3), (2, 3, 1), (2, 1, 3)):
        (found,), _ = _once(shrink("saturating", 3.0, rows=True), grad.view(shape))
        torch.testing.assert_close(found, expected.view(shape))
    (found,), _ = _once(shrink("saturating", 3.0, rows=True), grad.T.contiguous().T)
    torch.testing.assert_close(found, expected)
    (vector,), _ = _once(shrink("saturating", 3.0, rows=True), grad[1])
    torch.testing.assert_close(vector, expected[1])


@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e15])
def test_rows_of_any_size_follow_the_formula(unit: float) -> None:
    size = unit * torch.tensor([[1.0], [50.0], [1e-3]], dtype=torch.float64)
    loud = size * torch.ones(3, 200, dtype=torch.float64)
    loud[:, 20] *= -40.0  # between the runs of entries that a row's scale is read from
    (found,), _ = _once(shrink("saturating", 3.0 * unit, rows=True, gain=2.0), loud.float())
    limits = (2.0 * size).clamp(min=3.0 * unit)
    torch.testing.assert_close(found, (loud / (1.0 + (loud / limits) ** 2).sqrt()).float(), rtol=1e-5, atol=0.0)


def test_rows_are_for_the_saturating_form() -> None:
    with pytest.raises(UserError, match="saturating"):
        shrink("rational", rows=True)


def _once(transform, grad):
    return transform.update([grad.clone()], transform.init([grad]), [grad])


@pytest.mark.parametrize("shape", [(40,), (300, 500)])
def test_coordinates_can_be_clipped_by_adams_own_moment(shape: tuple[int, ...]) -> None:
    own, read = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
    first, second = (torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.99)) for p in (own, read))
    wrap(first, clip_coordinates(2.0, decay=0.99))
    made = wrap(second, clip_coordinates(2.0, adam=second))
    for grad in draws(30, shape):
        own.grad, read.grad = grad.clone(), grad.clone()
        first.step()
        second.step()
    torch.testing.assert_close(own.grad, read.grad, rtol=1e-4, atol=1e-6)
    assert made.state.per_entry == {}


def test_what_lies_within_its_bound_is_only_looked_at() -> None:
    generator = torch.Generator().manual_seed(1)
    grads = [torch.rand(300_000, generator=generator) + 1.0 for _ in range(3)]
    grads[2][200_000] = 50.0
    found = over(clip_coordinates(2.0), grads)
    assert torch.equal(found[1], grads[1])
    assert found[2][200_000] < 4.0
    grads[2][200_000] = found[2][200_000]
    assert torch.equal(found[2], grads[2])
