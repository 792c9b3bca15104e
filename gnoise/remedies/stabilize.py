"""Replace each tensor's gradient norm by a ratio of its moving averages: the step is bounded, not the direction."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.formulas import bias_corrected, ema, stabilizer_ratio
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.lists import multiply_, norms, usable
from gnoise.remedies.transform import State, Transform, book_dtype

_LARGEST_FACTOR = 1e38
"""Finite in float32, so that a vanishing gradient never turns into an infinite one."""


def stabilize(gammas: tuple[float, float] = (0.6, 0.999), *, max_ratio: float = 1.0) -> Transform:
    r"""Give each tensor's gradient the norm $\rho = \hat m/\sqrt{\hat v}$.

    With $R = \|g\|$, $m$ the moving average of $R$ (decay γ₁) and $v$ that of $R^2$ (decay γ₂), both corrected for
    their zero start, $g \leftarrow \min(\rho, \rho_{\max})\, g/R$. Gradients come out near unit norm whatever went in:
    Adam, Muon and the like do not mind; plain SGD needs its learning rate chosen anew. There is no neutral setting.

    This adds ``max_ratio`` to the paper. Without it a gradient 1,000 times too large gets ρ of about 12;
    afterwards, with it or without, ρ stays small until $v$ has forgotten: over 1,000 steps at γ₂ = 0.999. A tensor
    whose norm is zero or not finite passes as it is, and its averages do not move.

    Args:
        gammas: γ₁ and γ₂, each in [0, 1).
        max_ratio: ρ_max; infinity for the paper's own rule, then
            ρ ≤ (1−γ₁)/√(1−γ₂)/√(1−γ₁²/γ₂) as long as γ₁² < γ₂.

    Raises:
        UserError: a decay outside of [0, 1) or a ``max_ratio`` that is not above zero.

    References:
        GradientStabilizer, arXiv 2502.17055.
    """
    first, second = gammas
    if not (0.0 <= first < 1.0 and 0.0 <= second < 1.0):
        raise UserError(f"expected two gammas in [0, 1), got {first} and {second}; try gammas=(0.6, 0.999)")
    positive(max_ratio, "max_ratio")

    def init(params: Sequence[Tensor]) -> State:
        device = params[0].device
        zeros = torch.zeros(len(params), dtype=book_dtype(device), device=device)
        names = ("norm_average", "sq_norm_average", "steps", "ratio")
        return State(per_tensor={name: zeros.clone() for name in names})

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        books = state.per_tensor
        size = norms(grads)
        moves = usable(size)
        steps = books["steps"] + moves
        m = torch.where(moves, ema(books["norm_average"], size, first), books["norm_average"])
        v = torch.where(moves, ema(books["sq_norm_average"], size.square(), second), books["sq_norm_average"])
        since = steps.clamp(min=1.0)
        ratio = stabilizer_ratio(bias_corrected(m, first, since), bias_corrected(v, second, since)).clamp(max=max_ratio)
        ratio = torch.where(moves, ratio, books["ratio"])
        after = {"norm_average": m, "sq_norm_average": v, "steps": steps, "ratio": ratio}
        factor = torch.where(moves, (ratio / size).clamp(max=_LARGEST_FACTOR), 1.0)
        return multiply_(grads, factor), State(per_tensor=after)

    return Transform(init, update)
