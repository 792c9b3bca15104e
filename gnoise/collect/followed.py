"""Some matrices through Muon while draws go by: what each remedy's update would have been worth.

Muon's momentum is stood for by the mean of as many draws as it is worth, so that no two updates share a draw.
"""

import re
import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.dual_norms import DualNorms
from gnoise.collect.layers import Parameter
from gnoise.formulas import clip_value, ema, stabilizer_ratio
from gnoise.records import Layer, ProgressSample
from gnoise.remedies.geometry import approximate_polar_factor, as_matrix
from gnoise.stats.evidence import GAMMAS, MATRIX_ARMS, Met, Spectral, is_followed

BUDGET = 2.0
"""Gradient-sized buffers, of the whole model, that all followed matrices may hold together."""
_PARTS = 4
BUFFERS = len(MATRIX_ARMS) + _PARTS + 0.5
"""Matrix-sized ones a matrix holds: each arm's momentum, and in bfloat16 each part of the gradient, twice over, and the
polar factor of their mean."""
_BOUND = 12.0
"""Medians of |noise| at which an entry is bounded where the gradient shall bear heavy tails."""


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
    """One matrix: its gradient from the first blocks of draws, its updates from the others.

    Args:
        optimizer: what its gradients go through.
        draws: of a block; each makes as many updates as it holds means of the right length, one at least.
    """

    def __init__(self, optimizer: Spectral, *, draws: int) -> None:
        updates = max(1, round(draws / optimizer.horizon))
        self._ends = frozenset(round((place + 1) * draws / updates) for place in range(updates))
        self._place = 0
        self._along: list[np.ndarray] = []
        self._scales: list[float] = []
        self._norms: list[float] = []
        self._stable = (0.0, 0.0)
        self._added = 0
        self._sums: list[Tensor] = []
        self._gradients: list[list[Tensor]] = []
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
            learning: whether it is one of those the gradient is taken from.
        """
        self._place += 1
        met = self._meet(norm, learning=learning)
        seen = norm > 0.0 and met.scale > 0.0
        if not learning and self._gradients:
            self._hold(grad)
        if learning:
            self._sums = self._sums or [torch.zeros_like(grad) for _ in range(2)]
            if seen:
                for total, x in zip(self._sums, (clip_value(grad, _BOUND * met.scale), grad), strict=True):
                    total.add_(x)
                self._added += 1
            return
        self._buffers = self._buffers or [torch.zeros_like(grad) for _ in MATRIX_ARMS]
        if seen:
            for buffer, each in zip(self._buffers, MATRIX_ARMS, strict=True):
                buffer.add_(each.treat(grad, met))  # a mean's length does not matter: every update has the same
        if self._place in self._ends:
            self._along.append(self._update())

    def take(self) -> ProgressSample:
        """Close a block: what it was worth, zeros if it made no updates."""
        if self._sums:
            self._gradients.append([(total / max(self._added, 1)).bfloat16() for total in self._sums])
            self._sums, self._added = [], 0
        self._place = 0
        along, self._along = self._along, []
        norms = self._dual.take()
        return ProgressSample(
            arms=tuple(each.arm.setting for each in MATRIX_ARMS),
            along=np.mean(along or [np.zeros((len(MATRIX_ARMS), 2, _PARTS))], axis=0, keepdims=True),
            scale=self._scale,
            median_norm=statistics.median(self._norms),
            noise_nuclear=norms.noise,
            along_mean=norms.along,
            mean_nuclear=norms.above,
        )

    def _hold(self, grad: Tensor) -> None:
        """Hold a draw against the mean of all those the gradient was taken from."""
        if not self._dual.learnt:
            mean = torch.zeros_like(grad)
            for _, plain in self._gradients:
                mean.add_(plain)
            self._dual.learn(mean.div_(len(self._gradients)))
        self._dual.add(grad)

    def _update(self) -> np.ndarray:
        """Make every arm's update, hold it against every gradient, and start again from nothing."""
        along = np.zeros((len(MATRIX_ARMS), 2, _PARTS))
        for arm, mean in enumerate(self._buffers):
            step = approximate_polar_factor(as_matrix(mean), steps=5, polish=0).float()
            for part, both in enumerate(self._gradients):
                for kind, gradient in enumerate(both):
                    along[arm, kind, part] = float((as_matrix(gradient, like=mean).float() * step).sum())
        self._buffers = []
        return along

    @property
    def _scale(self) -> float:
        return statistics.median(self._scales) if self._scales else 0.0

    def _meet(self, norm: float, *, learning: bool) -> Met:
        """Put a norm to those known while learning, and to the stabilizer's averages always."""
        if learning:
            self._norms.append(norm)
        mean, square = self._stable if self._stable[1] else (norm, norm * norm)
        mean, square = ema(mean, norm, GAMMAS[0]), ema(square, norm * norm, GAMMAS[1])
        self._stable = (mean, square)
        ratio = float(stabilizer_ratio(np.asarray(mean), np.asarray(square))) if square > 0.0 else 0.0
        return Met(self._scale, statistics.median(self._norms or [norm]), norm, ratio)
