r"""Per-example gradient norms of a linear layer, $\|\sum_t g_{it} x_{it}^\top\|_F^2$, without the gradients."""
# pyright: reportCallIssue=false, reportArgumentType=false
# Triton takes num_warps and the like beside what a program is written with.

from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from gnoise.errors import UserError
from gnoise.kernels.choice import Backend, choose, interprets
from gnoise.kernels.norm_launch import per_unit_weight


class Order(StrEnum):
    """Which axis is contracted first."""

    TOKENS = "tokens"
    """$G_i^\\top X_i$, outputs × inputs, a tile at a time."""
    FEATURES = "features"
    """$\\langle G_i G_i^\\top, X_i X_i^\\top\\rangle$, tokens × tokens."""


LinearNorms = tuple[Tensor, Tensor | None]
"""weight_sq_norms and bias_sq_norms, of shape (examples,); ``None`` where no bias was asked for."""


def per_example_linear_norms(
    grad_out: Float[Tensor, "examples *tokens outputs"],
    x: Float[Tensor, "examples *tokens inputs"],
    *,
    bias: bool = False,
    example_weights: Float[Tensor, " examples"] | None = None,
    order: Order | None = None,
) -> LinearNorms:
    r"""Square the norms of each example's own share of a linear layer's weight and bias gradient.

    $$\|dW_i\|_F^2 = \Big\|\sum_t g_{it} x_{it}^\top\Big\|_F^2
    = \sum_{t,s} \langle g_{it}, g_{is}\rangle \langle x_{it}, x_{is}\rangle, \qquad
    \|db_i\|^2 = \Big\|\sum_t g_{it}\Big\|^2$$

    The examples × outputs × inputs tensor is never written: one example's matrix at most is held, in Triton a tile of
    it. Sums are float32 (float64 for float64 tensors), made in a fixed order.

    Args:
        grad_out: gradient of the layer's output: $w_i$ times that of example i's own loss.
        x: the layer's input, with the same examples and tokens.
        bias: whether the bias's norms are wanted as well.
        example_weights: $w_i$, to be divided out; ``None`` leaves the norms of the shares as they are.
        order: of contraction; ``None`` takes the one with fewer multiplications, $T K L$ or $T^2 (K + L)$.

    Raises:
        UserError: shapes or devices do not fit, or ``GNOISE_KERNELS`` forces what cannot run.

    References:
        G. Gray et al., 2024, section 3, arXiv:2411.00999, for contracting tokens first; X. Li et al., 2022, section 4,
        arXiv:2110.05679, for features first.
    """
    version = per_example_linear_norms_reference
    if choose(x, grad_out) is Backend.TRITON:
        version = per_example_linear_norms_triton
    return version(grad_out, x, bias=bias, example_weights=example_weights, order=order)


@torch.no_grad()
def per_example_linear_norms_triton(
    grad_out: Float[Tensor, "examples *tokens outputs"],
    x: Float[Tensor, "examples *tokens inputs"],
    *,
    bias: bool = False,
    example_weights: Float[Tensor, " examples"] | None = None,
    order: Order | None = None,
) -> LinearNorms:
    """Do the same in Triton; 32-bit factors are multiplied as three products of 19 bits (tf32x3)."""
    from gnoise.kernels.programs import linear  # noqa: PLC0415, RUF100

    grad, x = _factors(grad_out, x, example_weights)
    # The interpreter multiplies the bit patterns of bfloat16.
    if x.dtype is not grad.dtype or (interprets() and x.dtype is torch.bfloat16):
        grad, x = grad.float(), x.float()
    grad, x = (t if t.stride(2) == 1 or t.shape[2] == 1 else t.contiguous() for t in (grad, x))
    examples, tokens, inputs = x.shape
    outputs = grad.shape[2]
    sizes = (tokens, outputs, inputs, grad.stride(0), grad.stride(1), x.stride(0), x.stride(1))
    if grad.numel() == 0 or x.numel() == 0:
        parts = grad.new_zeros((examples, 1), dtype=torch.float32)
    elif (order or cheaper(tokens, outputs, inputs)) is Order.TOKENS:
        side = 128 if min(outputs, inputs) > 64 else 64
        parts = grad.new_empty((examples, -(-outputs // side), -(-inputs // side)), dtype=torch.float32)
        with torch.cuda.device_of(x):
            linear.outer_sq_norms[tuple(parts.shape)](grad, x, parts, *sizes, OUT=side, IN=side, **_tile(side))
    else:
        side = 64 if tokens > 32 else 32
        tiles = -(-tokens // side)
        parts = grad.new_empty((examples, tiles, tiles), dtype=torch.float32)
        with torch.cuda.device_of(x):
            linear.gram_sq_norms[tuple(parts.shape)](grad, x, parts, *sizes, TOKENS=side, FEATURES=32, num_warps=4)
    sq_norms = per_unit_weight(parts.flatten(1).sum(1).clamp_min(0.0), example_weights)
    return sq_norms, _bias_sq_norms(grad, example_weights) if bias else None


@torch.no_grad()
def per_example_linear_norms_reference(
    grad_out: Float[Tensor, "examples *tokens outputs"],
    x: Float[Tensor, "examples *tokens inputs"],
    *,
    bias: bool = False,
    example_weights: Float[Tensor, " examples"] | None = None,
    order: Order | None = None,
) -> LinearNorms:
    """Do the same in torch, an example at a time; in float64 for float64 tensors."""
    grad, x = _factors(grad_out, x, example_weights)
    wide = torch.promote_types(x.dtype, torch.float32)
    found = x.new_zeros(len(x), dtype=wide)
    first = order or cheaper(x.shape[1], grad.shape[2], x.shape[2])
    for example in range(len(x)):
        g, v = grad[example].to(wide), x[example].to(wide)
        found[example] = (g.mT @ v).square().sum() if first is Order.TOKENS else ((g @ g.mT) * (v @ v.mT)).sum()
    sq_norms = per_unit_weight(found.clamp_min(0.0), example_weights)
    return sq_norms, _bias_sq_norms(grad, example_weights) if bias else None


def cheaper(tokens: int, outputs: int, inputs: int) -> Order:
    """Choose the order with fewer multiplications."""
    return Order.FEATURES if tokens * (outputs + inputs) < outputs * inputs else Order.TOKENS


def _tile(side: int) -> dict[str, int]:
    return {"TOKENS": 32, "num_warps": 8 if side == 128 else 4}


def _bias_sq_norms(grad: Tensor, example_weights: Tensor | None) -> Tensor:
    wide = torch.promote_types(grad.dtype, torch.float32)
    return per_unit_weight(grad.sum(1, dtype=wide).square().sum(1), example_weights)


def _factors(grad_out: Tensor, x: Tensor, example_weights: Tensor | None) -> tuple[Tensor, Tensor]:
    if grad_out.ndim < 2 or grad_out.shape[:-1] != x.shape[:-1]:
        raise UserError(
            "expected grad_out and x of shapes (examples, ..., outputs) and (examples, ..., inputs), got "
            f"{tuple(grad_out.shape)} and {tuple(x.shape)}; try the layer's input and the gradient of its output"
        )
    if not grad_out.is_floating_point() or not x.is_floating_point():
        raise UserError(f"expected floating-point tensors, got {grad_out.dtype} and {x.dtype}; try .float()")
    if grad_out.device != x.device:
        raise UserError(f"expected both tensors on {x.device}, got {grad_out.device}; try grad_out.to(x.device)")
    if example_weights is not None and example_weights.shape != x.shape[:1]:
        raise UserError(
            f"expected one weight for each of {len(x)} examples, got shape {tuple(example_weights.shape)}; "
            "try example_weights=None"
        )
    tokens = x.shape[1:-1].numel()
    return (
        grad_out.detach().reshape(len(x), tokens, grad_out.shape[-1]),
        x.detach().reshape(len(x), tokens, x.shape[-1]),
    )
