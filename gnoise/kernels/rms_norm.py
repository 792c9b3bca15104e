r"""RMSNorm's backward pass, $y = \hat x \odot \gamma$ with $\hat x = x / \mathrm{rms}(x)$, with per-example norms."""

import torch
from jaxtyping import Float
from torch import Tensor

from gnoise.kernels.choice import Backend, choose
from gnoise.kernels.norm_launch import as_rows, per_unit_weight, run_norm_backward

RMSNormGrads = tuple[Tensor, Tensor, Tensor]
"""dx, dweight, weight_sq_norms."""


def rms_norm_backward(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> RMSNormGrads:
    r"""Differentiate RMSNorm, and square the norm of each example's own share of $d\gamma$.

    $$\hat x = x\,r, \quad r = (\overline{x^2} + \epsilon)^{-1/2}, \qquad d\gamma_i = \sum_t g_{it}\odot\hat x_{it},
    \qquad dx = r\,(\gamma\odot g - \hat x\,\overline{\gamma\odot g\odot\hat x})$$

    Types, units, determinism and what NaN does are as in
    :func:`gnoise.kernels.layer_norm.layer_norm_backward`.

    Args:
        grad_out: gradient of the output: $w_i$ times that of example i's own loss.
        x: the layer's input.
        weight: what $\hat x$ is multiplied with: $1 + \gamma$ where a model counts its weight from minus one, whose
            gradient is the same.
        eps: added to the mean square.
        example_weights: $w_i$, to be divided out of the norms; ``None`` leaves the norms of the shares as they are.

    Returns:
        dx of x's type and shape, dweight in float32, weight_sq_norms in float32 of shape (examples,).

    Raises:
        UserError: shapes or devices do not fit, a negative eps, or ``GNOISE_KERNELS`` forces what cannot run.

    References:
        B. Zhang and R. Sennrich, 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467. G. Gray et al., 2024,
        section 4, arXiv:2411.00999, for the per-example norms (of LayerNorm).
    """
    version = rms_norm_backward_triton if choose(x, grad_out, weight) is Backend.TRITON else rms_norm_backward_reference
    return version(grad_out, x, weight, eps=eps, example_weights=example_weights)


def rms_norm_backward_triton(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> RMSNormGrads:
    """Do the same in Triton: x and grad_out are read once, up to 8,192 features; twice beyond."""
    rows = as_rows(grad_out, x, weight, None, eps, example_weights)
    sums = run_norm_backward(rows, eps=eps, centered=False, has_bias=False)
    sq_norms = per_unit_weight(sums.sq_norms[0], example_weights)
    return sums.dx.view(x.shape), sums.grads[0].view(weight.shape), sq_norms


@torch.no_grad()
def rms_norm_backward_reference(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> RMSNormGrads:
    """Do the same in torch, as the formulas say it; in float64 for float64 tensors."""
    rows = as_rows(grad_out, x, weight, None, eps, example_weights)
    g, v = rows.grad.to(rows.wide_dtype), rows.x.to(rows.wide_dtype)
    rstd = torch.rsqrt(v.square().mean(2, keepdim=True) + eps)
    normed = v * rstd
    scaled = g * rows.weight.to(rows.wide_dtype)
    dx = rstd * (scaled - normed * (scaled * normed).mean(2, keepdim=True))
    each = (g * normed).sum(1)
    sq_norms = per_unit_weight(each.square().sum(1), example_weights)
    return dx.to(x.dtype).view(x.shape), each.sum(0).view(weight.shape), sq_norms
