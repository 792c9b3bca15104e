r"""Normalisation layers: $y = \hat x \odot w + \beta$, so $\nabla w_b = \sum_t g_{bt}\odot\hat x_{bt}$."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.per_example.form import Form, Whole, to_shape
from gnoise.collect.per_example.layer_type import runs
from gnoise.collect.per_example.mixing import BATCH_NORMS, mixes_examples

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, *BATCH_NORMS)


def is_layer_norm(module: nn.Module) -> bool:
    """Recognise ``nn.LayerNorm``."""
    return runs(module, nn.LayerNorm)


def is_group_norm(module: nn.Module) -> bool:
    """Recognise ``nn.GroupNorm``."""
    return runs(module, nn.GroupNorm)


def is_batch_norm(module: nn.Module) -> bool:
    """Recognise batch normalisation with frozen statistics; with the batch's own it mixes examples."""
    return runs(module, *_BATCH_NORMS) and not mixes_examples(module)


def is_rms_norm(module: nn.Module) -> bool:
    """Recognise torch's class, and others' by their one weight, their epsilon and the word in their name."""
    if not type(module).__name__.endswith(("RMSNorm", "T5LayerNorm")):
        return False
    held = dict(module.named_parameters(recurse=False))
    return list(held) == ["weight"] and held["weight"].ndim == 1 and _epsilon(module, held["weight"]) is not None


def multiplies_rms(module: nn.Module, x: Tensor, output: Tensor) -> bool:
    """Compare an RMSNorm's output with its definition, the weight counted from zero or from minus one."""
    weight: Tensor = module.get_parameter("weight").detach()
    if x.ndim == 0 or x.shape[-1:] != weight.shape[-1:]:
        return False
    normed = _over_rms(module, x)
    tolerance = 16 * torch.finfo(output.dtype).eps
    return any(
        torch.allclose(output.detach().to(normed.dtype), normed * scale, rtol=tolerance, atol=tolerance)
        for scale in (weight.to(normed.dtype), 1 + weight.to(normed.dtype))
    )


def layer_norm_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\hat x$ has mean zero and variance one over the normalised axes."""
    norm: nn.LayerNorm = module  # pyright: ignore[reportAssignmentType]
    shape = tuple(norm.normalized_shape)
    return Whole(to_shape(grad * functional.layer_norm(x.to(grad.dtype), shape, eps=norm.eps), shape))


def layer_norm_bias(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\nabla\beta_b = \sum_t g_{bt}$, over all axes that are not normalised."""
    norm: nn.LayerNorm = module  # pyright: ignore[reportAssignmentType]
    return Whole(to_shape(grad, tuple(norm.normalized_shape)))


def rms_norm_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\hat x$ has mean square one over the normalised axes; so for $y = \hat x(1 + w)$."""
    shape = tuple(module.get_parameter("weight").shape)
    return Whole(to_shape(grad * _over_rms(module, x.to(grad.dtype)), shape))


def group_norm_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\hat x$ has mean zero and variance one over each example's group of channels."""
    norm: nn.GroupNorm = module  # pyright: ignore[reportAssignmentType]
    normed = functional.group_norm(x.to(grad.dtype), norm.num_groups, eps=norm.eps)
    return Whole((grad * normed).flatten(2).sum(2) if grad.ndim > 2 else grad * normed)


def batch_norm_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\hat x$ is centred and scaled by the frozen statistics of each channel."""
    norm: nn.BatchNorm2d = module  # pyright: ignore[reportAssignmentType]
    mean, variance = (None if s is None else s.to(grad.dtype) for s in (norm.running_mean, norm.running_var))
    normed = functional.batch_norm(x.to(grad.dtype), mean, variance, eps=norm.eps)
    return Whole((grad * normed).flatten(2).sum(2) if grad.ndim > 2 else grad * normed)


def channel_bias(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    """Sum over everything but examples and channels, which are dimension 1."""
    return Whole(grad.flatten(2).sum(2) if grad.ndim > 2 else grad)


def _over_rms(module: nn.Module, x: Tensor) -> Tensor:
    weight = module.get_parameter("weight")
    epsilon = _epsilon(module, weight)
    x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt(
        x.square().mean(-1, keepdim=True) + (torch.finfo(x.dtype).eps if epsilon is None else epsilon)
    )


def _epsilon(module: nn.Module, weight: Tensor) -> float | None:
    if isinstance(module, nn.RMSNorm):
        wide = torch.promote_types(weight.dtype, torch.float32)  # torch takes float32's for half types
        return torch.finfo(wide).eps if module.eps is None else module.eps
    found = [getattr(module, name, None) for name in ("variance_epsilon", "eps", "epsilon")]
    return next((float(x) for x in found if isinstance(x, float)), None)
