"""Blocks of draws against what changing their weights in the moments really does."""

import numpy as np
import pytest

from gnoise.stats.evidence.arms import NONE, Gradients
from gnoise.stats.evidence.influence import by_block
from gnoise.stats.evidence.optimizers import Simulated, adam, sgd, sign
from gnoise.stats.evidence.updates import Made, Passes, arm_moments, treat_all, two_passes

DRAWS, COORDS, BLOCKS = 24, 5, 4
OPTIMIZERS = [adam((0.9, 0.95)), adam((0.8, 0.999)), adam((0.9, 0.99), eps=0.5), sgd(0.9), sgd()]
"""One with gradients as small as its ε, which v then says little of."""


def fold(seed: int = 0) -> tuple[Gradients, Gradients, np.ndarray]:
    """Return a fold's draws with one loud, draws to fill v from, and a curvature."""
    rng = np.random.default_rng(seed)
    values = 0.5 + rng.standard_normal((2, DRAWS, COORDS))
    values[0, 7] *= 20.0
    both = [Gradients(x, np.linalg.norm(x, axis=1), np.ones(DRAWS), 1.0, 1.0, 1.0, x) for x in values]
    return both[0], both[1], 0.5 + rng.random(COORDS)


def summed_updates(
    own: Gradients, filling: Gradients, passes: Passes, optimizer: Simulated, weights: np.ndarray
) -> np.ndarray:
    """Sum the updates of a pass in which draws have weights; the start of v stays as it is."""
    weighted = Passes(passes.first * weights, passes.second * weights, passes.left_of_start)
    (made,) = arm_moments(treat_all(NONE, own, [filling]), weighted)
    return optimizer.direction(made.first, made.second).sum(axis=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda x: f"{x.name}, eps {x.eps:g}")
def test_blocks_differ_by_what_a_little_more_of_their_draws_does(optimizer: Simulated) -> None:
    own, filling, curvature = fold()
    passes = two_passes(optimizer, DRAWS)
    (made,) = arm_moments(treat_all(NONE, own, [filling]), passes)
    found = by_block(made, passes, optimizer, curvature, BLOCKS)
    moved: list[np.ndarray] = []
    for block in range(BLOCKS):
        step = np.where(np.arange(DRAWS) // (DRAWS // BLOCKS) == block, 1e-5, 0.0)
        more, less = (summed_updates(own, filling, passes, optimizer, 1.0 + x) for x in (step, -step))
        moved.append((more - less) / 2e-5)
    middles = np.stack(moved) * BLOCKS / DRAWS
    np.testing.assert_allclose(found.middle - found.middle.mean(0), middles - middles.mean(0), rtol=1e-5, atol=1e-7)


def slow_sizes(made: Made, passes: Passes, optimizer: Simulated, curvature: np.ndarray) -> np.ndarray:
    """Move the sum of squared updates draw by draw, as the module has it."""
    updates, mean = optimizer.direction(made.first, made.second), made.treated.mean(axis=0)
    ratio = optimizer.direction(np.ones_like(updates), made.second)
    first, second = passes.first.T, passes.second.T
    whole, steady = first @ (updates * ratio), updates.mean(axis=0) * (first @ ratio)
    moved = made.treated * (whole + steady) - mean * (whole - steady)
    if optimizer.second_decay is not None:
        moved -= np.square(made.treated) * (second @ (np.square(updates) * ratio / np.sqrt(made.second)))
    own = (moved @ curvature).reshape(BLOCKS, -1).mean(axis=1)
    return (np.square(updates) @ curvature).mean() + own - own.mean()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda x: f"{x.name}, eps {x.eps:g}")
def test_sizes_are_those_of_the_sums_written_out(optimizer: Simulated) -> None:
    own, filling, curvature = fold()
    passes = two_passes(optimizer, DRAWS)
    (made,) = arm_moments(treat_all(NONE, own, [filling]), passes)
    found = by_block(made, passes, optimizer, curvature, BLOCKS)
    np.testing.assert_allclose(found.size, slow_sizes(made, passes, optimizer, curvature), rtol=1e-9)


def test_without_momentum_a_block_has_the_squares_of_its_own_draws() -> None:
    own, filling, curvature = fold()
    passes = two_passes(sgd(), DRAWS)
    (made,) = arm_moments(treat_all(NONE, own, [filling]), passes)
    found = by_block(made, passes, sgd(), curvature, BLOCKS)
    squares = (np.square(own.values) @ curvature).reshape(BLOCKS, -1).mean(axis=1)
    np.testing.assert_allclose(found.size, squares, rtol=1e-9)


@pytest.mark.parametrize("optimizer", [adam((0.9, 0.95)), sgd(0.9), sign()], ids=lambda x: x.name)
@pytest.mark.parametrize("count", [1, BLOCKS])
def test_blocks_average_to_the_mean_update_and_the_mean_squared_size(optimizer: Simulated, count: int) -> None:
    own, filling, curvature = fold()
    passes = two_passes(optimizer, DRAWS)
    (made,) = arm_moments(treat_all(NONE, own, [filling]), passes)
    found = by_block(made, passes, optimizer, curvature, count)
    updates = optimizer.direction(made.first, made.second)
    np.testing.assert_allclose(found.middle.mean(axis=0), updates.mean(axis=0), rtol=1e-9)
    assert found.size.mean() == pytest.approx((np.square(updates) @ curvature).mean())


def test_blocks_of_draws_vary_as_means_of_independent_draws_do() -> None:
    """Blocks of updates share draws through momentum, and would say that the mean is three times as sure as it is."""
    rng, optimizer = np.random.default_rng(1), sgd(0.9)
    passes = two_passes(optimizer, 32)
    ours: list[np.ndarray] = []
    naive: list[np.ndarray] = []
    for values in rng.standard_normal((40, 32, 200)):
        made = Made(values, passes.first @ values, np.square(values))
        ours.append(by_block(made, passes, optimizer, np.ones(200), 4).middle)
        naive.append(made.first.reshape(4, 8, -1).mean(axis=1))
    true = np.stack([x.mean(axis=0) for x in ours]).var()
    assert np.mean([x.var(axis=0, ddof=1).mean() / 4 for x in ours]) == pytest.approx(true, rel=0.05)
    assert np.mean([x.var(axis=0, ddof=1).mean() / 4 for x in naive]) < 0.15 * true


@pytest.mark.parametrize(("signal", "most"), [(0.0, 2.5), (1.0, 1.5), (4.0, 1.5)])
def test_sizes_of_blocks_vary_as_the_mean_squared_size_does(signal: float, most: float) -> None:
    """Without a signal the mean update is noise, which is taken for steady: too wide, not too narrow."""
    rng, optimizer = np.random.default_rng(2), sgd(0.9)
    passes = two_passes(optimizer, 32)
    sizes: list[np.ndarray] = []
    for values in signal + rng.standard_normal((600, 32, 10)):
        made = Made(values, passes.first @ values, np.square(values))
        sizes.append(by_block(made, passes, optimizer, np.ones(10), 4).size)
    true = np.stack([x.mean() for x in sizes]).var()
    assert 0.7 * true < np.mean([x.var(ddof=1) / 4 for x in sizes]) < most * true
