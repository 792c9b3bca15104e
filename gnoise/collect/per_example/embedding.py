"""Lookup tables."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.per_example.form import Form, Rows
from gnoise.collect.per_example.layer_type import runs


def is_embedding(module: nn.Module) -> bool:
    """Recognise ``nn.Embedding`` whose gradient is the plain sum over lookups."""
    return runs(module, nn.Embedding) and _is_plain(module)


def is_scaled_embedding(module: nn.Module) -> bool:
    """Recognise subclasses that multiply with ``embed_scale``, as Transformers' Gemma and BART families have."""
    return not runs(module, nn.Embedding) and _is_plain(module) and _scale(module) is not None


def multiplies_scale(module: nn.Module, x: Tensor, output: Tensor) -> bool:
    """Compare a scaled lookup with its definition."""
    scale = _scale(module)
    plain = functional.embedding(x, module.get_parameter("weight").detach())
    return scale is not None and plain.shape == output.shape and torch.equal(plain * scale, output.detach())


def embedding_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""Row $i$ of $\nabla W_b$ is $\sum_{t: x_{bt}=i} g_{bt}$; the padding row has no gradient."""
    table: nn.Embedding = module  # pyright: ignore[reportAssignmentType]
    grads = grad.reshape(len(grad), -1, grad.shape[-1])
    ids = x.reshape(len(x), -1)
    if table.padding_idx is not None:
        grads = grads.masked_fill((ids == table.padding_idx)[..., None], 0.0)
    return Rows(ids.long(), grads, table.num_embeddings)


def scaled_embedding_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    """Multiply what reaches the rows with the scale."""
    scale = _scale(module)
    return embedding_weight(module, x, grad if scale is None else grad * scale)


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and not (
        module.scale_grad_by_freq or module.sparse or module.max_norm is not None
    )


def _scale(module: nn.Module) -> float | Tensor | None:
    scale = getattr(module, "embed_scale", None)
    return scale if isinstance(scale, float | Tensor) else None
