"""Bounds on norms: of each tensor, of the whole list, of each unit against its weights."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.formulas import clip_norm_factor
from gnoise.remedies.lists import beside, multiply_, norms
from gnoise.remedies.shards import local, total
from gnoise.remedies.transform import State, Transform, identity


def positive(value: float, name: str) -> float:
    """Return a setting that must be above zero; infinity is allowed.

    Raises:
        UserError: it is zero, negative or NaN.
    """
    if not value > 0.0:
        raise UserError(f"expected {name} above 0, got {value}; try {name}=math.inf to switch it off")
    return value


def clip_norm(limit: float) -> Transform:
    r"""Bound the norm of each tensor: $g \leftarrow g \min(1, c/\|g\|)$.

    A tensor whose norm is not finite is left as it is.

    Args:
        limit: c; infinity is the identity.

    References:
        Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, there over the whole model.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        size = norms(grads)
        return multiply_(grads, _finite_or_one(clip_norm_factor(size, limit), size)), state

    return Transform(lambda params: State(), update)


def clip_global_norm(limit: float) -> Transform:
    r"""Bound the norm of all gradients together: $g \leftarrow g \min(1, c/\|g\|)$.

    ``torch.nn.utils.clip_grad_norm_`` adds $10^{-6}$ to the norm and this does not. A norm that is not
    finite changes nothing.

    Args:
        limit: c; infinity is the identity.

    References:
        Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        size = torch.linalg.vector_norm(norms(grads))
        return multiply_(grads, _finite_or_one(clip_norm_factor(size, limit), size)), state

    return Transform(lambda params: State(), update)


def agc(limit: float = 0.01, *, smallest: float = 1e-3) -> Transform:
    r"""Bound each unit's gradient by the size of its weights: $\|g_i\| \le \lambda \max(\|w_i\|, \epsilon)$.

    A unit is a row of a matrix, an output channel of a convolution, and the whole of a vector. The paper
    leaves the last layer out: do so with ``select``. Units whose norm is not finite are left as they are.

    Args:
        limit: λ; infinity is the identity.
        smallest: ε, so that weights which start at zero can grow.

    References:
        Brock et al. 2021, eq. 3, arXiv 2102.06171.
    """
    if math.isinf(positive(limit, "limit")):
        return identity()

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        matrices = [i for i, x in enumerate(grads) if x.ndim > 1]
        vectors = [i for i, x in enumerate(grads) if x.ndim < 2]
        if vectors:
            some = [grads[i] for i in vectors]
            multiply_(some, factors(norms(some), norms([params[i].detach() for i in vectors])))
        if matrices:
            some = [grads[i] for i in matrices]
            factor = factors(_row_norms(some), _row_norms([params[i].detach() for i in matrices]))
            for parts, (numbers,) in beside(local(some), factor, rows=True):
                torch._foreach_mul_(parts, numbers)
        return grads, state

    def factors(size: Tensor, weight: Tensor) -> Tensor:
        return _finite_or_one(clip_norm_factor(size, limit * weight.clamp(min=smallest)), size)

    return Transform(lambda params: State(), update)


def _row_norms(matrices: Sequence[Tensor]) -> Tensor:
    """Return the norms of what this process holds of rows, whole ones, tensor after tensor."""
    found: list[Tensor] = []
    for x, here in zip(matrices, local(matrices), strict=True):
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        size = torch.linalg.vector_norm(here, dim=tuple(range(1, x.ndim)), dtype=wide)
        found.append(total(size.unsqueeze(-1), [x], rows=True).squeeze(-1).to(matrices[0].device))
    return torch.cat(found)


def _finite_or_one(factor: Tensor, size: Tensor) -> Tensor:
    return torch.where(size < math.inf, factor, 1.0)
