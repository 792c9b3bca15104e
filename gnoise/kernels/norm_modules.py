"""Which modules are LayerNorms and RMSNorms: torch's by their class, others by what they compute."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILONS = ("variance_epsilon", "eps", "epsilon")
_NAMES = ("LayerNorm", "RMSNorm")


@dataclass(frozen=True)
class NormKind:
    r"""What a module computes: $y = \hat x \odot (w + o) + \beta$.

    Attributes:
        centered: whether $\hat x$ has its mean taken out: LayerNorm, else RMSNorm.
        offset: o, 1 where the weight is counted from minus one (Gemma), else 0.
        eps: ``None`` for torch's RMSNorm, that of the type it computes in.
    """

    centered: bool
    offset: float
    eps: float | None


def is_called_norm(module: nn.Module) -> bool:
    """Say whether a module's name promises a norm and it has a trainable parameter of its own."""
    trainable = any(tensor.requires_grad for tensor in module.parameters(recurse=False))
    return trainable and type(module).__name__.endswith(_NAMES)


def recognise(module: nn.Module) -> NormKind | None:
    """Tell what a module computes, or ``None`` where it is no LayerNorm or RMSNorm with a trainable weight.

    Classes other than torch's must be called a norm, have a weight and perhaps a bias, and give a norm's output for a
    random input and weight. That is tried on a CPU with weights made for it, so the module's own may lie anywhere.
    """
    parameters = dict(module.named_parameters(recurse=False))
    weight = parameters.get("weight")
    if weight is None or not weight.requires_grad or not parameters.keys() <= {"weight", "bias"}:
        return None
    forward = type(module).forward
    if isinstance(module, nn.LayerNorm) and forward is nn.LayerNorm.forward:
        return NormKind(centered=True, offset=0.0, eps=module.eps)
    if isinstance(module, nn.RMSNorm) and forward is nn.RMSNorm.forward:
        return NormKind(centered=False, offset=0.0, eps=module.eps)
    if not is_called_norm(module) or weight.ndim != 1 or not _takes_one(forward):
        return None
    eps = next((x for x in (getattr(module, name, None) for name in _EPSILONS) if isinstance(x, float)), None)
    return None if eps is None else _probed(module, weight.numel(), "bias" in parameters, eps)


def original_forward(module: nn.Module) -> Callable[..., Tensor]:
    """Return the forward pass that a module has from its class."""
    return type(module).forward


def _takes_one(forward: Callable[..., object]) -> bool:
    needed = [x for x in inspect.signature(forward).parameters.values() if x.default is inspect.Parameter.empty]
    return len(needed) == 2  # self and the input


@torch.no_grad()
def _probed(module: nn.Module, features: int, has_bias: bool, eps: float) -> NormKind | None:
    generator = torch.Generator().manual_seed(0)
    x = 1.0 + 2.0 * torch.randn(3, 2, features, generator=generator)
    made = {"weight": torch.randn(features, generator=generator)}
    if has_bias:
        made["bias"] = torch.randn(features, generator=generator)
    probe = copy.copy(module)
    probe.__dict__ = module.__dict__ | {"_parameters": {name: nn.Parameter(t) for name, t in made.items()}}
    try:
        found = type(module).forward(probe, x)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None  # it needs more than an input and a weight: no norm as defined here
    for centered in (True, False):
        if centered:
            normed = functional.layer_norm(x, (features,), eps=eps)
        else:
            normed = functional.rms_norm(x, (features,), eps=eps)
        for offset in (0.0, 1.0):
            expected = normed * (made["weight"] + offset) + made.get("bias", torch.zeros(()))
            if isinstance(found, Tensor) and found.shape == x.shape and torch.allclose(found, expected, atol=1e-4):
                return NormKind(centered, offset, eps)
    return None
