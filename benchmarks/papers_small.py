"""Two small problems of `papers.py`: a forecaster, and a policy that balances a pole on a cart.

Run alone it does nothing.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from papers_trainings import Batch, Problem
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

# A time series -----------------------------------------------------------------------------------------

PAST, AHEAD = 96, 24
_LENGTH, _DAY, _WEEK = 20_000, 24, 168


def forecaster() -> Problem:
    """Return a perceptron that reads 96 hours of a series and predicts the next 24."""

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(PAST, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, AHEAD)
        )

    past, future = series()
    train, test = (
        (past[: int(0.8 * len(past))], future),
        (past[int(0.8 * len(past)) :: 8], future[int(0.8 * len(past)) :: 8]),
    )

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return functional.mse_loss(module(batch[0]), batch[1])

    def batches(seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            chosen = torch.randint(len(train[0]), (32,), generator=generator)
            yield train[0][chosen], train[1][chosen]

    @torch.no_grad()
    def held_out(module: nn.Module) -> float:
        return functional.l1_loss(module(test[0]), test[1]).item()

    return Problem(32, make, loss, batches, held_out)


def series(seed: int = 1337) -> tuple[Tensor, Tensor]:
    """Make every window of a series with a day, a week, an autoregression of Student-t(2) shocks and rare spikes.

    Args:
        seed: of the shocks.

    Returns:
        (windows, 96) and (windows, 24), in units of the series' interquartile range.
    """
    rng, hours = np.random.default_rng(seed), np.arange(_LENGTH)
    shocks, drift = 0.2 * rng.standard_t(2.0, _LENGTH), np.zeros(_LENGTH)
    for hour in range(1, _LENGTH):
        drift[hour] = 0.9 * drift[hour - 1] + shocks[hour]
    spikes = np.where(rng.random(_LENGTH) < 0.002, 20.0 * rng.standard_normal(_LENGTH), 0.0)
    values = np.sin(2 * np.pi * hours / _DAY) + 0.5 * np.sin(2 * np.pi * hours / _WEEK) + drift + spikes
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    windows = torch.from_numpy(((values - middle) / (high - low)).astype(np.float32)).unfold(0, PAST + AHEAD, 1)
    return windows[:, :PAST].contiguous(), windows[:, PAST:].contiguous()


# A policy ----------------------------------------------------------------------------------------------

EPISODES, LONGEST = 16, 100
_GRAVITY, _CART, _POLE, _HALF, _FORCE, _TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
_TILT, _TRACK = 12 * 2 * math.pi / 360, 2.4
_PLAYED = 64


def balance() -> Problem:
    """Return a policy that learns to balance a pole on a cart by policy gradients (REINFORCE)."""

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))

    def batches(seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield _chances(EPISODES, generator)

    test = _chances(_PLAYED, torch.Generator().manual_seed(99))
    return Problem(EPISODES, make, policy_loss, batches, lambda module: -float(played(module, test)[2].sum(0).mean()))


def _chances(episodes: int, generator: torch.Generator) -> Batch:
    """Draw where episodes start, and the uniform numbers that choose their actions."""
    starts = 0.1 * torch.rand(episodes, 4, generator=generator) - 0.05
    return starts, torch.rand(LONGEST, episodes, generator=generator)


@torch.no_grad()
def played(module: nn.Module, chances: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Play episodes.

    Args:
        module: states to logits of left and right.
        chances: starts (episodes, 4) and uniform numbers (ticks, episodes).

    Returns:
        states, actions and whether the pole still stood before each tick, ticks first.
    """
    state, alive = chances[0], torch.ones(len(chances[0]), dtype=torch.bool)
    states, actions, standing = [], [], []
    for uniform in chances[1]:
        action = (uniform < module(state).softmax(-1)[:, 1]).long()
        states.append(state)
        actions.append(action)
        standing.append(alive)
        state = moved(state, action)
        alive = alive & (state[:, 0].abs() < _TRACK) & (state[:, 2].abs() < _TILT)
        if not alive.any():
            break
    return torch.stack(states), torch.stack(actions), torch.stack(standing).float()


def moved(state: Tensor, action: Tensor) -> Tensor:
    """Move cart and pole by one tick: position, speed, angle, angular speed (Barto, Sutton and Anderson 1983)."""
    x, speed, angle, turning = state.unbind(-1)
    force, cos, sin = _FORCE * (2.0 * action - 1.0), angle.cos(), angle.sin()
    push = (force + _POLE * _HALF * turning.square() * sin) / (_CART + _POLE)
    falling = (_GRAVITY * sin - cos * push) / (_HALF * (4.0 / 3.0 - _POLE * cos.square() / (_CART + _POLE)))
    pull = push - _POLE * _HALF * falling * cos / (_CART + _POLE)
    return torch.stack(
        [x + _TICK * speed, speed + _TICK * pull, angle + _TICK * turning, turning + _TICK * falling], -1
    )


def policy_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return minus the mean over episodes of Σ log π(a) (return to go less its mean over episodes)."""
    states, actions, standing = played(module, batch)
    to_go = standing.flip(0).cumsum(0).flip(0)
    ahead = (to_go - to_go.mean(1, keepdim=True)) * standing
    return -(Categorical(logits=module(states)).log_prob(actions) * ahead).sum(0).mean()
