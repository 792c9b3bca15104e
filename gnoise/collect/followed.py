"""Some matrices through Muon while draws go by: what each remedy's update would have been worth.

The first draws give the gradient, those after them fill Muon's momentum, and the last go through it to updates: these
share no draw with what they are held against.
"""

import re
import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.dual_norms import DualNorms
from gnoise.collect.layers import Parameter
from gnoise.collect.parted import PARTS, PartedMean, ends_of
from gnoise.formulas import bias_corrected, ema, stabilizer_ratio
from gnoise.records import Layer, ProgressSample
from gnoise.remedies.geometry import approximate_polar_factor, as_matrix
from gnoise.stats.evidence import GAMMAS, MATRIX_ARMS, Met, Spectral, is_followed

BUDGET = 2.0
"""Gradient-sized buffers, of the whole model, that all followed matrices may hold together."""
BUFFERS = len(MATRIX_ARMS) + PARTS + 1
"""Matrix-sized ones a matrix holds: each arm's momentum, in bfloat16 each part of the gradient, twice over, and the sum
of the first half of the draws."""
ROWS = 2
"""Means of updates a block, each of consecutive ones."""
_BLOCKS = 8
_FILLED = 2.0
"""Horizons that momentum is filled for: it then lacks 3% of its weights."""


def choose_followed(parameters: Sequence[Parameter]) -> frozenset[str]:
    """Choose every k-th hidden matrix of each role, with k as small as the budget allows; one at least.

    Roles (names without their numbers) begin at different depths, so that all of both are seen.

    Args:
        parameters: in the network's order.

    Returns:
        their names.
    """
    matrices = [p.layer for p in parameters if is_followed(p.layer)]
    room = BUDGET * sum(p.layer.numel for p in parameters) / BUFFERS
    roles: dict[str, list[Layer]] = {}
    for layer in matrices:
        roles.setdefault(re.sub(r"\d+", "#", layer.name), []).append(layer)
    for step in range(1, len(matrices) + 1):
        chosen = [layer for start, own in enumerate(roles.values()) for layer in own[start % step :: step]]
        if sum(layer.numel for layer in chosen) <= room:
            return frozenset(layer.name for layer in chosen or matrices[:1])
    return frozenset(layer.name for layer in matrices[:1])


def follow(parameters: Sequence[Parameter], optimizer: Spectral, *, draws: int) -> "dict[str, Followed]":
    """Make ready to follow the matrices of :func:`choose_followed`.

    Args:
        parameters: in the network's order.
        optimizer: what gradients go through.
        draws: of a block.
    """
    return {name: Followed(optimizer, draws=draws) for name in choose_followed(parameters)}


class Followed:
    """One matrix: its gradient from the first draws, its updates from the second half of them.

    Draws between these fill the momentum only; at least half of the first half is the gradient's.

    Args:
        optimizer: what its gradients go through.
        draws: of a block.
    """

    def __init__(self, optimizer: Spectral, *, draws: int) -> None:
        self._momentum = optimizer.momentum
        half = draws * _BLOCKS // 2
        self._mean = PartedMean(draws=max(half // 2, half - round(_FILLED * optimizer.horizon)))
        self._ends = frozenset(ends_of(draws, ROWS * optimizer.updates(draws // ROWS)))
        self._place = 0
        self._along: list[np.ndarray] = []
        self._scales: list[float] = []
        self._norms: list[float] = []
        self._stable = (0.0, 0.0)
        self._draws = 0
        self._total: Tensor | None = None
        self._buffers: list[Tensor] = []
        self._dual = DualNorms(draws=draws)

    def learn_scale(self, median: float) -> None:
        """Note the median |noise| of a pair of draws."""
        self._scales.append(median)

    def add_noise(self, noise: Tensor) -> None:
        """Take the noise of a pair of draws.

        Args:
            noise: of any shape, not changed.
        """
        self._dual.add_noise(noise)

    def add(self, grad: Tensor, norm: float, *, learning: bool) -> None:
        """Take a draw.

        Args:
            grad: of any shape, not changed.
            norm: its norm.
            learning: whether it is of the first half.
        """
        self._place += 1
        met = self._meet(norm, learning=learning)
        if learning:
            self._total = grad.clone() if self._total is None else self._total.add_(grad)
        else:
            self._hold(grad)
        if not self._mean.gradients:
            self._mean.add(grad)
            return
        along = self._feed(grad, met, update=not learning and self._place in self._ends)
        if along is not None:
            self._along.append(along)

    def take(self) -> ProgressSample:
        """Close a block: what it was worth, zeros if it made no updates."""
        self._place = 0
        along, self._along = self._along or [np.zeros((len(MATRIX_ARMS), 2, PARTS))] * ROWS, []
        norms = self._dual.take()
        return ProgressSample(
            arms=tuple(each.arm.setting for each in MATRIX_ARMS),
            along=np.stack([np.mean(part, axis=0) for part in np.split(np.stack(along), ROWS)]),
            scale=self._scale,
            median_norm=statistics.median(self._norms),
            noise_nuclear=norms.noise,
            along_mean=norms.along,
            mean_nuclear=norms.above,
        )

    def _hold(self, grad: Tensor) -> None:
        """Hold a draw of the second half against the mean of the first."""
        if self._total is not None:
            self._dual.learn(self._total / len(self._norms))
            self._total = None
        if self._dual.learnt:
            self._dual.add(grad)

    def _feed(self, grad: Tensor, met: Met, *, update: bool) -> np.ndarray | None:
        """Put a draw into every arm's momentum; where asked, hold the updates made of it against every gradient.

        Momentum is a sum, not an average: every update has the same length, whatever it is made of.
        """
        self._buffers = self._buffers or [torch.zeros_like(grad) for _ in MATRIX_ARMS]
        along = np.zeros((len(MATRIX_ARMS), 2, PARTS))
        seen = met.norm > 0.0 and met.scale > 0.0
        for arm, (buffer, each) in enumerate(zip(self._buffers, MATRIX_ARMS, strict=True)):
            treated = each.treat(grad, met) if seen else torch.zeros_like(grad)
            buffer.mul_(self._momentum).add_(treated)
            if update:
                along[arm] = self._held(treated.add(buffer, alpha=self._momentum))
        return along if update else None

    def _held(self, looked_ahead: Tensor) -> np.ndarray:
        """Make an update of a momentum and hold it against every gradient."""
        step = approximate_polar_factor(as_matrix(looked_ahead), steps=5, polish=0).float()
        return np.array(
            [
                [
                    float(torch.dot(as_matrix(part, like=looked_ahead).float().flatten(), step.flatten()))
                    for part in kind
                ]
                for kind in zip(*self._mean.gradients, strict=True)
            ]
        )

    @property
    def _scale(self) -> float:
        return statistics.median(self._scales) if self._scales else 0.0

    def _meet(self, norm: float, *, learning: bool) -> Met:
        """Put a norm to those known while learning, and to the stabilizer's averages always."""
        if learning:
            self._norms.append(norm)
        self._draws += 1
        first, second = self._stable
        self._stable = first, second = ema(first, norm, GAMMAS[0]), ema(second, norm**2, GAMMAS[1])
        mean, square = bias_corrected(first, GAMMAS[0], self._draws), bias_corrected(second, GAMMAS[1], self._draws)
        ratio = float(stabilizer_ratio(np.asarray(mean), np.asarray(square))) if square > 0.0 else 0.0
        return Met(self._scale, statistics.median(self._norms or [norm]), norm, ratio)
