r"""LayerNorm's backward pass, $y = \hat x \odot \gamma + \beta$, with per-example gradient norms on the way."""

import torch
from jaxtyping import Float
from torch import Tensor

from gnoise.kernels.choice import Backend, choose
from gnoise.kernels.norm_launch import as_rows, per_unit_weight, run_norm_backward

LayerNormGrads = tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None]
"""dx, dweight, dbias, weight_sq_norms, bias_sq_norms; ``None`` for a bias that is not there."""


def layer_norm_backward(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    bias: Float[Tensor, " features"] | None = None,
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> LayerNormGrads:
    r"""Differentiate LayerNorm, and square the norm of each example's own share of $d\gamma$ and $d\beta$.

    $$d\gamma_i = \sum_t g_{it} \odot \hat x_{it}, \qquad d\beta_i = \sum_t g_{it}, \qquad
    d\gamma = \sum_i d\gamma_i, \qquad n_i = \|d\gamma_i\|^2 / w_i^2$$

    Statistics and sums are float32 (float64 for float64 tensors), whatever comes in. The same input gives the same bits
    in every run on one kind of device: no sum depends on the order in which programs finish. A NaN or infinity makes
    its own row of dx, its own example's norms and the batch's sums NaN, and no other example's. Differs from Gray et
    al. in being deterministic and in taking any number of token axes; their CUDA kernel adds up by atomics.

    Args:
        grad_out: gradient of the output: $w_i$ times that of example i's own loss; any strides.
        x: the layer's input. Float, half or bfloat16, also other than ``grad_out``'s type. No examples, no tokens or
            no features give zeros and empty tensors.
        weight: γ; of several dimensions where LayerNorm normalises over as many.
        bias: β, for whether there is one: its values do not matter.
        eps: added to the variance.
        example_weights: $w_i$, each example's weight in the batch's loss, to be divided out of the norms (an example
            of weight 0 gets NaN). ``None`` leaves the norms of the shares as they are: with a mean over examples,
            multiply by the squared number of examples.

    Returns:
        dx of x's type and shape; dweight and dbias in float32, of the weight's shape; weight_sq_norms and
        bias_sq_norms in float32, of shape (examples,).

    Raises:
        UserError: shapes or devices do not fit, a negative eps, or ``GNOISE_KERNELS`` forces what cannot run.

    References:
        G. Gray et al., 2024, section 4, "Normalization Layer Per-Example Gradients are Sufficient to Predict Gradient
        Noise Scale in Transformers", arXiv:2411.00999. Ba et al. 2016, arXiv:1607.06450.
    """
    version = layer_norm_backward_triton if choose(x, grad_out, weight) is Backend.TRITON else None
    return (version or layer_norm_backward_reference)(
        grad_out, x, weight, bias, eps=eps, example_weights=example_weights
    )


def layer_norm_backward_triton(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    bias: Float[Tensor, " features"] | None = None,
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> LayerNormGrads:
    """Do the same in Triton: x and grad_out are read once, up to 8,192 features; twice beyond."""
    rows = as_rows(grad_out, x, weight, bias, eps, example_weights)
    sums = run_norm_backward(rows, eps=eps, centered=True, has_bias=bias is not None)
    sq_norms = per_unit_weight(sums.sq_norms, example_weights)
    dx, dweight = sums.dx.view(x.shape), sums.grads[0].view(weight.shape)
    if bias is None:
        return dx, dweight, None, sq_norms[0], None
    return dx, dweight, sums.grads[1].view(weight.shape), sq_norms[0], sq_norms[1]


@torch.no_grad()
def layer_norm_backward_reference(
    grad_out: Float[Tensor, "examples *tokens features"],
    x: Float[Tensor, "examples *tokens features"],
    weight: Float[Tensor, " features"],
    bias: Float[Tensor, " features"] | None = None,
    *,
    eps: float,
    example_weights: Float[Tensor, " examples"] | None = None,
) -> LayerNormGrads:
    """Do the same in torch, as the formulas say it; in float64 for float64 tensors."""
    rows = as_rows(grad_out, x, weight, bias, eps, example_weights)
    g, v = rows.grad.to(rows.wide_dtype), rows.x.to(rows.wide_dtype)
    v = v - v.mean(2, keepdim=True)
    rstd = torch.rsqrt(v.square().mean(2, keepdim=True) + eps)
    normed = v * rstd
    scaled = g * rows.weight.to(rows.wide_dtype)
    along, level = (scaled * normed).mean(2, keepdim=True), scaled.mean(2, keepdim=True)
    dx = (rstd * (scaled - normed * along - level)).to(x.dtype).view(x.shape)
    each = (g * normed).sum(1)
    dweight, weight_sq_norms = each.sum(0).view(weight.shape), per_unit_weight(each.square().sum(1), example_weights)
    if bias is None:
        return dx, dweight, None, weight_sq_norms, None
    each = g.sum(1)
    return (
        dx,
        dweight,
        each.sum(0).view(weight.shape),
        weight_sq_norms,
        per_unit_weight(each.square().sum(1), example_weights),
    )
