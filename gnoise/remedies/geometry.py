r"""Norms that optimizers step in: their unit balls' minimisers, and the dual norms which noise is measured in.

| geometry | norm ‖X‖ | minimiser of ⟨G, X⟩ over ‖X‖ ≤ 1 | dual norm ‖G‖* |
| --- | --- | --- | --- |
| spectral (RMS→RMS), m × n | √(n/m) σ₁(X) | −√(m/n) U Vᵀ | √(m/n) Σσ(G) |
| sign (1→∞) | max abs(X) | −sign(G) | Σ abs(G) |
| rms, d entries | ‖X‖₂/√d | −√d G/‖G‖₂ | √d ‖G‖₂ |

Rows are outputs, as in ``nn.Linear``.
"""

from enum import StrEnum

import torch
from torch import Tensor

STEEP = (3.4445, -4.7750, 2.0315)
"""Newton–Schulz polynomial that lifts small singular values fastest, to between 0.7 and 1.2 (Jordan 2024)."""
_POLISH = (1.875, -1.25, 0.375)
"""The classical one of fifth degree, which takes these to 1: p(1) = 1, p'(1) = p''(1) = 0."""
_EXACT_SIDE = 128
"""Up to this smaller side singular values cost little."""
_TINY = 1e-30


class Geometry(StrEnum):
    """How a parameter's step is measured."""

    SPECTRAL = "spectral"
    SIGN = "sign"
    RMS = "rms"
    ADAMW = "adamw"
    """No unit ball of its own: a step of ``torch.optim.AdamW``."""


def as_matrix(x: Tensor, *, like: Tensor | None = None) -> Tensor:
    """Return a matrix of first axis × rest, a convolution's out × (in · kernel), sharing memory where it can.

    Axes of the rest come in memory order, so that a channels-last kernel is a view as well; singular
    values do not see the order.

    Args:
        x: of two or more axes.
        like: whose memory order to take, where two tensors must agree.
    """
    if x.ndim == 2:
        return x
    stride = (x if like is None else like).stride
    return x.permute(0, *sorted(range(1, x.ndim), key=stride, reverse=True)).flatten(1)


def polar_factor(x: Tensor) -> Tensor:
    r"""Return $UV^\top$ of $x = U \Sigma V^\top$, exactly; singular values of zero stay zero.

    Args:
        x: matrix; worked on in float32 at least.
    """
    left, values, right = torch.linalg.svd(_wide(x), full_matrices=False)
    floor = values.max() * max(x.shape) * torch.finfo(values.dtype).eps
    return (left * (values > floor)) @ right


def approximate_polar_factor(x: Tensor, *, steps: int = 4, polish: int = 2) -> Tensor:
    r"""Approach $UV^\top$ by matrix products in bfloat16.

    $X \leftarrow aX + (bXX^\top + c(XX^\top)^2)X$ from $X/\|X\|_F$: first the steep polynomial of Muon, which leaves
    singular values between 0.7 and 1.2, then the classical one, which takes them to 1. Muon itself is
    ``steps=5, polish=0``.

    Args:
        x: matrix.
        steps: with the steep polynomial.
        polish: with the classical one.

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Björck & Bowie 1971.
    """
    tall = x.shape[0] > x.shape[1]
    y = (x.mT if tall else x).bfloat16()
    y = y / torch.linalg.vector_norm(y).clamp(min=_TINY)
    for a, b, c in [STEEP] * steps + [_POLISH] * polish:
        gram = y @ y.mT
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.mT if tall else y


def nuclear_norm(x: Tensor, *, exact: bool | None = None) -> Tensor:
    r"""Return the sum of singular values as a 0-dimensional tensor.

    Exact, or $\langle X, \mathrm{NS}(X) \rangle$ with :func:`approximate_polar_factor`: 0 to 4% too small on Gaussian,
    Cauchy, low-rank and power-law matrices. With Muon's own five steps it would be 2 to 21% too small.

    Args:
        x: matrix.
        exact: ``None``: exact where the smaller side is at most 128.
    """
    if exact is None:
        exact = min(x.shape) <= _EXACT_SIDE
    if exact:
        finite = x.isfinite()
        # The decomposition refuses what is not finite; the answer to it is NaN.
        values = torch.linalg.svdvals(_wide(torch.where(finite, x, 0.0)))
        return torch.where(finite.all(), values.sum(), torch.nan)
    return torch.linalg.vecdot(_wide(x).flatten(), _wide(approximate_polar_factor(x)).flatten())


def norm(x: Tensor, geometry: Geometry) -> Tensor:
    """Return the norm that a step of this geometry is measured in, as a 0-dimensional tensor."""
    wide = _wide(x)
    match geometry:
        case Geometry.SPECTRAL:
            matrix = as_matrix(wide)
            rows, columns = matrix.shape
            return (columns / rows) ** 0.5 * torch.linalg.matrix_norm(matrix, 2)
        case Geometry.SIGN:
            return wide.abs().max()
        case _:
            return torch.linalg.vector_norm(wide) / x.numel() ** 0.5


def dual_norm(grad: Tensor, geometry: Geometry, *, exact: bool | None = None) -> Tensor:
    r"""Return $\|G\|_* = \max_{\|X\| \le 1} \langle G, X \rangle = -\langle G, \mathrm{lmo}(G) \rangle$, 0-dimensional.

    Args:
        grad: of any shape; more than two axes are flattened to out × rest for the spectral one.
        geometry: not ``adamw``, which counts as ``rms`` here.
        exact: as in :func:`nuclear_norm`.
    """
    match geometry:
        case Geometry.SPECTRAL:
            matrix = as_matrix(grad)
            rows, columns = matrix.shape
            return (rows / columns) ** 0.5 * nuclear_norm(matrix, exact=exact)
        case Geometry.SIGN:
            return _wide(grad).abs().sum()
        case _:
            return grad.numel() ** 0.5 * torch.linalg.vector_norm(_wide(grad))


def lmo(grad: Tensor, geometry: Geometry) -> Tensor:
    r"""Return the minimiser of $\langle G, X \rangle$ over the unit ball $\|X\| \le 1$, exactly.

    A zero gradient gives zero.

    Args:
        grad: of any shape.
        geometry: as in :func:`dual_norm`.
    """
    match geometry:
        case Geometry.SPECTRAL:
            matrix = as_matrix(grad)
            rows, columns = matrix.shape
            step = -((rows / columns) ** 0.5) * polar_factor(matrix)
            return _unflattened(step, grad)
        case Geometry.SIGN:
            return -grad.sign()
        case _:
            return -(grad.numel() ** 0.5) * grad / torch.linalg.vector_norm(grad).clamp(min=_TINY)


def _unflattened(matrix: Tensor, like: Tensor) -> Tensor:
    if like.ndim == 2:
        return matrix.to(like.dtype)
    filled = torch.empty_like(like)
    as_matrix(filled).copy_(matrix)
    return filled


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
