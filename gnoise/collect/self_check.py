"""What must be equal before anything is collected, and how nearly."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.draw import Draw
from gnoise.collect.layers import Parameter
from gnoise.errors import unreadable

_RELATIVE_TOLERANCE = 1e-3
_SMALL_LAYER = 1e-3


def refuse_difference(
    parameters: Sequence[Parameter], summed: Sequence[Tensor], whole: Sequence[Tensor], *, examples: int
) -> None:
    """Compare the mean of one-example gradients with the gradient of their batch, parameter by parameter.

    Args:
        parameters: whose gradients they are.
        summed: means of one-example gradients.
        whole: gradients of the batch.
        examples: in the batch, to recognise a sum.

    Raises:
        UserError: they differ by more than rounding.
    """
    floor = _SMALL_LAYER * max(_norm(whole), _norm(summed))
    for parameter, a, b in zip(parameters, summed, whole, strict=True):
        tolerance = max(_RELATIVE_TOLERANCE, 8 * torch.finfo(parameter.tensor.dtype).eps)
        if _norm([a - b]) > tolerance * max(_norm([a]), _norm([b]), floor):
            raise unreadable(_explain(_norm(whole) / max(_norm(summed), 1e-30), examples, parameter.layer.name))


def same_draw(
    found: Draw, grads: Sequence[Tensor], expected: Draw, expected_grads: Sequence[Tensor], *, rounding: float
) -> bool:
    """Say whether two ways of making one draw gave the same norms and the same gradient.

    Args:
        found: by the one way.
        grads: its gradient.
        expected: by the other.
        expected_grads: its gradient.
        rounding: unit of the coarsest gradient; what cancels (the bias of attention keys) is judged by the whole.
    """
    unit = 8 * max(rounding, *(torch.finfo(x.dtype).eps for x in expected_grads))
    tolerance = max(_RELATIVE_TOLERANCE, unit)
    found_LE, expected_LE = np.sqrt(found.example_sq_norms), np.sqrt(expected.example_sq_norms)
    floor_E = unit * np.sqrt(expected.example_sq_norms.sum(0))
    floor = unit * _norm(expected_grads)
    return bool((np.abs(found_LE - expected_LE) <= tolerance * expected_LE + floor_E).all()) and all(
        _norm([a - b]) <= tolerance * _norm([b]) + floor for a, b in zip(grads, expected_grads, strict=True)
    )


def same_losses(found: Draw, expected: Draw, *, rounding: float) -> bool:
    """Say whether two ways of making one draw gave the same losses."""
    tolerance = max(_RELATIVE_TOLERANCE, 8 * rounding)
    return bool(np.allclose(found.losses, expected.losses, rtol=tolerance, atol=tolerance))


def _wide(tensor: Tensor) -> torch.dtype:
    """Half precisions are summed in float32, the others in their own."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([torch.linalg.vector_norm(t, dtype=_wide(t)) for t in tensors]).norm())


def _explain(ratio: float, examples: int, layer: str) -> str:
    what = f"the batch's gradient is {ratio:.3g} times the mean of its examples' gradients (they differ in {layer})"
    if abs(ratio / examples - 1) < 0.01:
        return (
            f"expected the mean loss over a batch, but {what}, so the loss is a sum over {examples} examples; "
            "try --loss module:function that divides by the number of examples"
        )
    return (
        f"expected a batch's gradient to be the mean of its examples' gradients, but {what}; layers that mix "
        "examples or a loss that weighs them unequally do this; try --loss module:function with a plain mean"
    )
