"""What must be equal before anything is collected, and how nearly."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.draw import Draw
from gnoise.collect.layers import Parameter
from gnoise.collect.per_example.rounding import RELATIVE_TOLERANCE, advice, close
from gnoise.errors import unreadable


def refuse_difference(
    parameters: Sequence[Parameter],
    summed: Sequence[Tensor],
    whole: Sequence[Tensor],
    *,
    examples: int,
    rounding: float,
    terms: Mapping[str, float],
) -> None:
    """Compare the mean of one-example gradients with the gradient of their batch, parameter by parameter.

    And all of them together: in half precision a parameter among many could hide behind what the whole leaves to
    rounding.

    Args:
        parameters: whose gradients they are.
        summed: means of one-example gradients.
        whole: gradients of the batch.
        examples: in the batch, to recognise a sum.
        rounding: unit of the coarsest numbers in the computation.
        terms: norms of what the batch's gradients are sums of, by layer.

    Raises:
        UserError: they differ by more than rounding.
    """
    differences = [a - b for a, b in zip(summed, whole, strict=True)]
    size = max(_norm(whole), _norm(summed))
    pairs = [
        (parameter.layer.name, _norm([difference]), _norm([a]), _norm([b]), size, terms[parameter.layer.name])
        for parameter, difference, a, b in zip(parameters, differences, summed, whole, strict=True)
    ]
    together = _norm(differences), _norm(summed), _norm(whole)
    pairs.append(("all layers together", *together, 0.0, math.hypot(*terms.values())))
    for name, difference, a, b, allowed, of in pairs:
        if not close(difference, a, b, size=allowed, rounding=rounding, terms=of):
            said = _explain(_norm(whole) / max(_norm(summed), 1e-30), examples, name)
            raise unreadable(said + advice(rounding))


def same_draw(
    found: Draw, grads: Sequence[Tensor], expected: Draw, expected_grads: Sequence[Tensor], *, rounding: float
) -> bool:
    """Say whether two ways of making one draw gave the same norms and the same gradient.

    Args:
        found: by the one way.
        grads: its gradient.
        expected: by the other.
        expected_grads: its gradient.
        rounding: unit of the coarsest numbers in the computation; what cancels (the bias of attention keys) is judged
            by the whole.
    """
    unit = 8 * rounding
    tolerance = max(RELATIVE_TOLERANCE, unit)
    found_LE, expected_LE = np.sqrt(found.example_sq_norms), np.sqrt(expected.example_sq_norms)
    floor_E = unit * np.sqrt(expected.example_sq_norms.sum(0))
    floor = unit * _norm(expected_grads)
    return bool((np.abs(found_LE - expected_LE) <= tolerance * expected_LE + floor_E).all()) and all(
        _norm([a - b]) <= tolerance * _norm([b]) + floor for a, b in zip(grads, expected_grads, strict=True)
    )


def same_losses(found: Draw, expected: Draw, *, rounding: float) -> bool:
    """Say whether two ways of making one draw gave the same losses."""
    tolerance = max(RELATIVE_TOLERANCE, 8 * rounding)
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
