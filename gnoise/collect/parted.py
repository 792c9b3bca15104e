"""A matrix's mean gradient, in parts: the plain one, and one that bears heavy tails."""

import torch
from torch import Tensor

PARTS = 4
_SCATTER = 0.81
"""Root of the variance of the median of four Gaussian values, 0.298, over the jackknife's, 0.452."""


def ends_of(draws: int, parts: int) -> tuple[int, ...]:
    """Say after how many draws each of so many even parts ends."""
    return tuple(round((place + 1) * draws / parts) for place in range(parts))


class PartedMean:
    r"""Means of consecutive draws, in bfloat16; and the median of these, entry by entry, shared out to them.

    A median of means is theirs wherever noise is symmetric, however unequal entries' scales; bounding entries at one
    limit for all would hide the signal of the loudest. Its share of a part is the pseudo-value $4m - 3m_{-i}$, m the
    median and $m_{-i}$ that without the part, drawn towards m by a fifth: their mean is m, and their scatter its error
    (that of plain pseudo-values would be half as large again where noise is Gaussian: a median is not smooth).

    Args:
        draws: of all parts.

    References:
        Tukey 1958 for pseudo-values.
    """

    def __init__(self, *, draws: int) -> None:
        self._ends = ends_of(draws, PARTS)
        self._place = 0
        self._added = 0
        self._sum: Tensor | None = None
        self._plain: list[Tensor] = []
        self.gradients: list[tuple[Tensor, Tensor]] = []
        """Of each part the median's share and the plain mean, once all draws are there."""

    def add(self, grad: Tensor) -> None:
        """Take a draw, of any shape, not changed."""
        self._sum = grad.clone() if self._sum is None else self._sum.add_(grad)
        self._place += 1
        self._added += 1
        if self._place in self._ends:
            self._plain.append((self._sum / self._added).bfloat16())
            self._sum, self._added = None, 0
        if len(self._plain) == PARTS:
            self.gradients = list(zip(median_shares(self._plain), self._plain, strict=True))


def median_shares(parts: list[Tensor]) -> list[Tensor]:
    """Share the entrywise median of four out to them; the mean of the shares is the median.

    Without one of the lower two the median is the third value, without one of the upper two the second.
    """
    one, two, three, four = parts
    # Both middle values without sorting, whose indices alone would take eight matrices.
    lower = torch.maximum(torch.minimum(one, two), torch.minimum(three, four))
    upper = torch.minimum(torch.maximum(one, two), torch.maximum(three, four))
    second, third = torch.minimum(lower, upper).float(), torch.maximum(lower, upper).float()
    median, apart = 0.5 * (second + third), 1.5 * _SCATTER * (third - second)
    low, high = (median - apart).to(one.dtype), (median + apart).to(one.dtype)
    return [torch.where(part <= second, low, high) for part in parts]
