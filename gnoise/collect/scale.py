"""Each coordinate's own noise scale, learnt on the first half of the pairs."""

from math import gcd

import torch
from jaxtyping import Float32
from torch import Tensor

MAX_COORDINATES = 1 << 18
"""Larger tensors are standardised at this many evenly spaced coordinates: ample for a tail, a small buffer."""


class CoordinateScale:
    """The geometric mean of |noise| of every coordinate of one tensor.

    It exists for every tail, Cauchy's too, and needs one sum of logarithms, not the draws. A coordinate
    that was exactly zero in more than half of the pairs (a rare token's row) is left out.

    Args:
        numel: entries of the tensor.
        row_length: entries of its last axis; the stride shares no factor with it, so that every column is met.
    """

    def __init__(self, numel: int, row_length: int = 1) -> None:
        self._stride = -(-numel // MAX_COORDINATES)
        while gcd(self._stride, row_length) != 1:
            self._stride += 1
        self._log_sum: Tensor | None = None
        self._seen: Tensor | None = None
        self._keep: Tensor | None = None
        self._inverse: Tensor | None = None
        self.pairs = 0

    def learn(self, noise: Float32[Tensor, " coords"]) -> None:
        """Add one pair's noise (flat)."""
        magnitude = noise[:: self._stride].abs()
        visited = magnitude > 0
        logs = torch.where(visited, magnitude.clamp(min=torch.finfo(torch.float32).tiny).log(), 0.0)
        if self._log_sum is None or self._seen is None:
            self._log_sum, self._seen = logs, visited.to(torch.int16)
        else:
            self._log_sum += logs
            self._seen += visited
        self.pairs += 1

    def standardise(self, noise: Float32[Tensor, " coords"]) -> Float32[Tensor, " kept"]:
        """Divide one pair's noise (flat) by each coordinate's scale."""
        inverse = self._frozen() if self._inverse is None else self._inverse
        strided = noise[:: self._stride]
        kept = strided if self._keep is None else strided[self._keep]
        return kept * inverse

    def _frozen(self) -> Tensor:
        """Turn the sums into the factor to multiply with; learning is over."""
        if self._log_sum is None or self._seen is None:
            raise RuntimeError("standardise before any pair was learnt")
        visited = 2 * self._seen > self.pairs
        if not bool(visited.all()):
            self._keep = visited.nonzero().squeeze(1)
            self._log_sum, self._seen = self._log_sum[self._keep], self._seen[self._keep]
        self._inverse = torch.exp(-self._log_sum / self._seen)
        self._log_sum = self._seen = None
        return self._inverse
