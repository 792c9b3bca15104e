"""Inputs for the kernels beside the norm layers'."""

import torch
from torch import Tensor

SHAPES = ((1, 1), (3, 3), (20, 127), (130, 33), (70, 1025))
"""Outputs and inputs of a linear layer."""
TOKENS = ((), (1,), (7,), (5, 9), (70,))


def factors(tokens: tuple[int, ...], outputs: int, inputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(outputs + inputs + len(tokens))
    grad, x = (torch.randn(3, *tokens, side, generator=generator).to(dtype) for side in (outputs, inputs))
    return grad, x


def linear_truth(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    g, v = (t.double().reshape(len(t), -1, t.shape[-1]) for t in (grad, x))
    return torch.einsum("bto,bti->boi", g, v).square().sum((1, 2)), g.sum(1).square().sum(1)


def awkward_values(count: int = 5000) -> tuple[Tensor, Tensor]:
    """Values over all scales, with every special one, and scales likewise."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(count, generator=generator) * torch.exp2(
        torch.randint(-140, 120, (count,), generator=generator)
    )
    inf, tiny = float("inf"), 1e-45
    values[:10] = torch.tensor([0.0, -0.0, inf, -inf, float("nan"), tiny, -tiny, 1e-39, 3.4e38, -1e-40])
    scale = torch.rand(count, generator=generator) + 0.01
    scale[10:12] = torch.tensor([0.0, inf])
    return values, scale


def adam_case(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = ((5,), (33, 65), (0, 3), (1,), (2100,))
    grads = [(3.0 * torch.randn(s, generator=generator)).to(dtype) for s in shapes]
    firsts = [torch.randn(s, generator=generator) for s in shapes]
    seconds = [torch.rand(s, generator=generator) for s in shapes]
    return grads, firsts, seconds, torch.tensor([0.5, 1.0, 2.0, 3.0, 1.5])
