"""What every entry of REMEDIES must keep."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gnoise.remedies import REMEDIES, Listed, Transform, identity

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "remedies.md").read_text("utf-8")
SHAPES = ((33, 17), (5,), (1,), (4, 3, 2, 2), (), (0, 3))
IDS = [f"{i}-{entry.name}" for i, entry in enumerate(REMEDIES)]
every = pytest.mark.parametrize("entry", REMEDIES, ids=IDS)


def heavy(steps: int, seed: int = 0) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [[torch.empty(s).cauchy_(generator=generator) for s in SHAPES] for _ in range(steps)]


def ran(transform: Transform, steps: list[list[Tensor]]) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(9)
    params = [torch.randn(s, generator=generator) for s in SHAPES]
    state = transform.init(params)
    found = []
    for grads in steps:
        after, state = transform.update([g.clone() for g in grads], state, params)
        found.append([g.clone() for g in after])
    return found


def same(left: list[list[Tensor]], right: list[list[Tensor]]) -> bool:
    return all(torch.equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


@every
def test_documented(entry: Listed) -> None:
    assert f"`{entry.name}(" in DOCS


@every
def test_finite_in_finite_out_and_something_happens(entry: Listed) -> None:
    steps = heavy(12)
    steps[5] = [1e15 * g for g in steps[5]]
    steps[7] = [1e-15 * g for g in steps[7]]
    found = ran(entry.usual, steps)
    assert all(g.isfinite().all() for grads in found for g in grads)
    assert not same(found, steps)


@every
def test_sign_is_kept_and_odd(entry: Listed) -> None:
    steps = heavy(6)
    mirrored = ran(entry.usual, [[-g for g in grads] for grads in steps])
    found = ran(entry.usual, steps)
    assert same(mirrored, [[-g for g in grads] for grads in found])
    assert all((a * b >= 0).all() for x, y in zip(found, steps, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("entry", [e for e in REMEDIES if e.entrywise], ids=lambda e: e.name)
def test_entrywise_ones_never_make_an_entry_larger(entry: Listed) -> None:
    steps = heavy(6)
    for found, grads in zip(ran(entry.usual, steps), steps, strict=True):
        assert all((a.abs() <= b.abs()).all() for a, b in zip(found, grads, strict=True))


@pytest.mark.parametrize("entry", [e for e in REMEDIES if e.degree is not None], ids=lambda e: e.name)
def test_scale_equivariance(entry: Listed) -> None:
    steps, times = heavy(8), 2.0**10
    louder = ran(entry.usual, [[times * g for g in grads] for grads in steps])
    for found, grads in zip(louder, ran(entry.usual, steps), strict=True):
        for a, b in zip(found, grads, strict=True):
            torch.testing.assert_close(a, times**entry.degree * b, rtol=1e-5, atol=0.0)


@every
def test_zero_gradients_stay_zero_and_teach_nothing(entry: Listed) -> None:
    zeros = [[torch.zeros(s) for s in SHAPES]]
    assert same(ran(entry.usual, zeros), zeros)
    if entry.name not in ("zclip", "clip_coordinates"):  # one counts every norm, the other every step
        steps = heavy(5)
        assert same(ran(entry.usual, zeros + steps)[1:], ran(entry.usual, steps))


@every
def test_non_finite_gradients_do_not_poison_later_steps(entry: Listed) -> None:
    before, bad, after = heavy(6), heavy(1, seed=1), heavy(3, seed=2)
    bad[0][0][3, 4], bad[0][0][2, 2] = math.nan, math.inf
    found = ran(entry.usual, before + bad + after)
    assert found[6][0][3, 4].isnan()
    assert all(g.isfinite().all() for grads in found[7:] for g in grads)


@pytest.mark.parametrize("entry", [e for e in REMEDIES if e.neutral is not None], ids=lambda e: e.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neutral_is_the_identity_bit_for_bit(entry: Listed, dtype: torch.dtype) -> None:
    steps = [[g.to(dtype) for g in grads] for grads in heavy(4)]
    steps[2][1][0] = math.inf
    assert same(ran(entry.neutral, steps), ran(identity(), steps))


@every
def test_half_precision_keeps_its_dtype_and_follows_float32(entry: Listed) -> None:
    steps = [[g.bfloat16() for g in grads] for grads in heavy(6)]
    wide = ran(entry.usual, [[g.float() for g in grads] for grads in steps])
    for found, grads in zip(ran(entry.usual, steps), wide, strict=True):
        for a, b in zip(found, grads, strict=True):
            assert a.dtype == torch.bfloat16
            torch.testing.assert_close(a.float(), b, rtol=2e-2, atol=1e-6)


@every
def test_state_survives_its_tree(entry: Listed) -> None:
    from gnoise.remedies.transform import restore

    steps = heavy(10)
    params = [torch.ones(s) for s in SHAPES]
    state = entry.usual.init(params)
    for grads in steps[:5]:
        _, state = entry.usual.update([g.clone() for g in grads], state, params)
    again = restore(state.tree(), entry.usual.init(params))
    for grads in steps[5:]:
        left, state = entry.usual.update([g.clone() for g in grads], state, params)
        right, again = entry.usual.update([g.clone() for g in grads], again, params)
        assert same([left], [right])
