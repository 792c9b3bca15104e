"""One matrix in the nuclear norm while draws go by: its noise's own, and two that its mean gradient's lies between.

The norm of a mean of draws is too large by what noise is left in it. What later draws have along the polar factor of
that mean is too small by what the factor is off: no matrix of spectral norm one has more of G along it than ‖G‖_*.
"""

import numpy as np
import torch
from torch import Tensor

from gnoise.remedies.geometry import approximate_polar_factor, nuclear_norm
from gnoise.stats.muon_noise_scale import MuonNorms

_PAIRS = 4
"""Of a block, at most, whose noise is decomposed: as many in a run as there are updates of all arms."""


class DualNorms:
    """Keeps the polar factor of a mean, in bfloat16, and one number a draw and a pair.

    Args:
        draws: of a block.
    """

    def __init__(self, *, draws: int) -> None:
        pairs = max(1, draws // 2)
        self._every = -(-pairs // _PAIRS)
        self._seen = 0
        self._noise: list[float] = []
        self._along: list[float] = []
        self._factor: Tensor | None = None
        self._mean_nuclear = 0.0

    def add_noise(self, noise: Tensor) -> None:
        """Take a pair's noise; only every k-th is looked at."""
        if self._seen % self._every == 0:
            self._noise.append(float(nuclear_norm(noise.flatten(1))))
        self._seen += 1

    def learn(self, mean: Tensor) -> None:
        """Take the mean of draws that none of those still to come is among."""
        self._mean_nuclear = float(nuclear_norm(mean.flatten(1)))
        self._factor = approximate_polar_factor(mean.flatten(1))

    @property
    def learnt(self) -> bool:
        """Whether there is a mean to hold draws against."""
        return self._factor is not None

    def add(self, grad: Tensor) -> None:
        """Take a draw that came after the mean."""
        if self._factor is None:
            raise RuntimeError("add before learn")
        self._along.append(float(torch.linalg.vecdot(grad.flatten(), self._factor.flatten().float())))

    def take(self) -> MuonNorms:
        """Return what there is, and start again with the same mean."""
        noise, self._noise = self._noise, []
        along, self._along = self._along, []
        return MuonNorms(np.array(noise), np.array(along), self._mean_nuclear)
