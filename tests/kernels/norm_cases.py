"""Inputs for the norm kernels, and how far a result is from the float64 truth."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SIZES = (1, 3, 127, 1023, 1025)
LEADING = ((5,), (3, 7), (2, 3, 4))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = {"float32": 1e-6, "bfloat16": 4e-3, "float16": 5e-4}
"""Of dx, which has the input's type; sums are always float32."""
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    kind: str
    grad: Tensor
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    eps: float = 1e-5


def make(kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, *, bias: bool = True) -> Case:
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    features = shape[-1]
    x = 2.0 * normal(*shape) + 1.0
    has_bias = bias and kind == "layer_norm"
    return Case(
        kind,
        normal(*shape).to(dtype),
        x.to(dtype),
        (1.0 + 0.5 * normal(features)).to(dtype),
        normal(features).to(dtype) if has_bias else None,
    )


def call(version: Any, case: Case, **options: Any) -> tuple[Tensor, ...]:
    """Call a version of the case's kernel: dx, then gradients, then norms, without what is not there."""
    bias = () if case.kind == "rms_norm" else (case.bias,)
    found = version(case.grad, case.x, case.weight, *bias, eps=case.eps, **options)
    return tuple(t for t in found if t is not None)


def truth(case: Case) -> tuple[Tensor, ...]:
    """Differentiate torch's own layer in float64, each example alone for the norms."""
    weight, bias = case.weight.double(), None if case.bias is None else case.bias.double()

    def gradients(examples: slice) -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (case.x.double()[examples], weight)]
        if bias is not None:
            leaves.append(bias.clone().requires_grad_())
        if case.kind == "rms_norm":
            y = functional.rms_norm(leaves[0], weight.shape, leaves[1], case.eps)
        else:
            y = functional.layer_norm(
                leaves[0], weight.shape, leaves[1], leaves[2] if len(leaves) > 2 else None, case.eps
            )
        return list(torch.autograd.grad(y, leaves, case.grad.double()[examples]))

    alone = [gradients(slice(i, i + 1)) for i in range(len(case.x))]
    norms = [torch.stack([found[k].square().sum() for found in alone]) for k in range(1, len(alone[0]))]
    return (*gradients(slice(None)), *norms)


def errors(case: Case, found: tuple[Tensor, ...]) -> list[float]:
    """Relative errors by norm; dx's against its largest term, for the terms cancel where features are few."""
    expected = truth(case)
    v = case.x.double()
    v = v if case.kind == "rms_norm" else v - v.mean(-1, keepdim=True)
    terms = case.grad.double() * case.weight.double() * torch.rsqrt(v.square().mean(-1, keepdim=True) + case.eps)
    # With one feature LayerNorm's output is its bias: every gradient through the weight is a true zero.
    scales = [terms.norm(), *(t.norm() + 1e-6 * case.grad.double().norm() for t in expected[1:])]
    return [float((a.double() - b).norm() / c) for a, b, c in zip(found, expected, scales, strict=True)]
