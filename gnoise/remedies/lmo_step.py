"""One step of momentum towards the minimiser over a unit ball, for lists of tensors: sign and root mean square."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.geometry import Geometry
from gnoise.remedies.lists import multiply_, norms

Tensors = tuple[Tensor, ...] | list[Tensor]

_TINY = 1e-30


@dataclass
class Steppers:
    """Columns of what is stepped together: one entry a parameter that has a gradient."""

    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    momenta: list[Tensor] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    decays: list[float] = field(default_factory=list)
    momentum: list[float] = field(default_factory=list)


def lmo_step_(columns: Steppers, geometry: Geometry, *, nesterov: bool) -> None:
    r"""Step every parameter in place: $w \leftarrow (1 - \eta\lambda) w + \eta\,\mathrm{lmo}(B)$.

    $B \leftarrow \mu B + (1-\mu) G$; with Nesterov momentum $\mu B + (1-\mu) G$ once more in its place. The same
    order of operations as in ``torch.optim.Muon``.

    Args:
        columns: ``rates`` are η, ``decays`` λ, ``momentum`` μ; ``momenta`` are B, overwritten.
        geometry: ``sign`` or ``rms``.
        nesterov: as above.
    """
    if not columns.params:
        return
    torch._foreach_lerp_(columns.momenta, columns.grads, [1.0 - x for x in columns.momentum])
    seen: Tensors = (
        torch._foreach_lerp(columns.grads, columns.momenta, columns.momentum) if nesterov else columns.momenta
    )
    if geometry is Geometry.SIGN:
        steps: Tensors = torch._foreach_sign(seen)
        torch._foreach_mul_(steps, [-rate for rate in columns.rates])
    else:
        steps = _root_mean_square(seen, columns.rates)
    torch._foreach_mul_(columns.params, [1.0 - a * b for a, b in zip(columns.rates, columns.decays, strict=True)])
    torch._foreach_add_(columns.params, steps)


def _root_mean_square(seen: Tensors, rates: Sequence[float]) -> Tensors:
    reach = [-rate * x.numel() ** 0.5 for x, rate in zip(seen, rates, strict=True)]
    sizes = norms(seen).clamp(min=_TINY)
    return multiply_(list(torch._foreach_mul(seen, 1.0)), sizes.new_tensor(reach) / sizes)


def dense(grad: Tensor) -> Tensor:
    """Return a gradient that is dense.

    Raises:
        UserError: it is sparse.
    """
    if grad.layout != torch.strided:
        raise UserError("expected dense gradients, got a sparse one; try nn.Embedding(..., sparse=False)")
    return grad
