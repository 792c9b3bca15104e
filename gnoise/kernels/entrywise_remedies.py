"""Clipping or shrinking entries on the way into Adam's moments, without writing the changed gradient."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gnoise import formulas
from gnoise.errors import UserError
from gnoise.kernels.choice import Backend, choose

RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clip_value": formulas.clip_value,
    "rational": formulas.shrink_rational,
    "quartic": formulas.shrink_quartic,
    "saturating": formulas.shrink_saturating,
}
"""The entry-wise rules, by the names that the remedies have for them."""
_BLOCK = 2048


def remedied_adam_moments_(
    grads: Sequence[Tensor],
    firsts: Sequence[Tensor],
    seconds: Sequence[Tensor],
    *,
    rule: str,
    scales: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    r"""Update Adam's moments in place with remedied gradients.

    $$u = f_\tau(g), \qquad m \leftarrow m + (1-\beta_1)(u - m), \qquad v \leftarrow \beta_2 v + (1-\beta_2)\,u^2$$

    Gradients stay as they are. In Triton gradients and moments are read once and moments written once: five passes
    over memory, where ``torch._foreach`` makes ten or more. At an infinite scale the torch version is Adam's own
    update, bit for bit; Triton's may differ in the last bit.

    Args:
        grads: gradients, of any floating-point type.
        firsts: m of each, of its shape.
        seconds: v of each, of its shape.
        rule: one of :data:`RULES`.
        scales: τ of each tensor, of shape (tensors,), above zero; where the tensors are, so that nothing waits.
        betas: Adam's decays.

    Raises:
        UserError: no such rule, or lists and shapes that do not fit each other.

    References:
        :mod:`gnoise.formulas` for the rules; Kingma & Ba 2015, arXiv:1412.6980, for the moments.
    """
    version = remedied_adam_moments_reference_
    if grads and choose(*grads, *firsts, *seconds) is Backend.TRITON:
        version = remedied_adam_moments_triton_
    version(grads, firsts, seconds, rule=rule, scales=scales, betas=betas)


@torch.no_grad()
def remedied_adam_moments_triton_(
    grads: Sequence[Tensor],
    firsts: Sequence[Tensor],
    seconds: Sequence[Tensor],
    *,
    rule: str,
    scales: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Do the same in Triton, a launch a tensor; tensors that are not contiguous go to torch."""
    from gnoise.kernels.programs import entrywise  # noqa: PLC0415, RUF100

    _check(grads, firsts, seconds, rule, scales)
    scales = scales.float()
    for place, (grad, first, second) in enumerate(zip(grads, firsts, seconds, strict=True)):
        if not all(t.is_contiguous() for t in (grad, first, second)):
            _update_one_(grad, first, second, rule, scales[place], betas)
        elif grad.numel():
            with torch.cuda.device_of(grad):
                entrywise.remedied_moments[(-(-grad.numel() // _BLOCK),)](
                    grad, first, second, scales[place : place + 1], grad.numel(), *betas,
                    RULE=rule, BLOCK=_BLOCK, num_warps=8,  # pyright: ignore[reportCallIssue]
                )  # fmt: skip


@torch.no_grad()
def remedied_adam_moments_reference_(
    grads: Sequence[Tensor],
    firsts: Sequence[Tensor],
    seconds: Sequence[Tensor],
    *,
    rule: str,
    scales: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Do the same in torch, tensor by tensor, as the formulas say it."""
    _check(grads, firsts, seconds, rule, scales)
    for place, (grad, first, second) in enumerate(zip(grads, firsts, seconds, strict=True)):
        _update_one_(grad, first, second, rule, scales[place], betas)


def _update_one_(
    grad: Tensor, first: Tensor, second: Tensor, rule: str, scale: Tensor, betas: tuple[float, float]
) -> None:
    wide = torch.promote_types(grad.dtype, torch.float32)
    changed = RULES[rule](grad.to(wide), scale.to(grad.device, wide)).to(first.dtype)
    first.lerp_(changed, 1.0 - betas[0])
    second.mul_(betas[1]).addcmul_(changed, changed, value=1.0 - betas[1])


def _check(
    grads: Sequence[Tensor], firsts: Sequence[Tensor], seconds: Sequence[Tensor], rule: str, scales: Tensor
) -> None:
    if rule not in RULES:
        raise UserError(f"expected rule to be one of {', '.join(RULES)}, got {rule!r}; try rule='saturating'")
    if not len(grads) == len(firsts) == len(seconds) or scales.shape != (len(grads),):
        raise UserError(
            f"expected both moments and a scale for each of {len(grads)} gradients, got {len(firsts)}, {len(seconds)} "
            f"and scales of shape {tuple(scales.shape)}; try scales=torch.full(({len(grads)},), τ)"
        )
    for grad, first, second in zip(grads, firsts, seconds, strict=True):
        if not grad.shape == first.shape == second.shape:
            raise UserError(
                f"expected moments of the gradient's shape {tuple(grad.shape)}, got {tuple(first.shape)} and "
                f"{tuple(second.shape)}; try the optimizer's exp_avg and exp_avg_sq"
            )
