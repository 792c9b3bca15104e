"""Shrink large entries towards zero, smoothly: surrogates of a posterior mean under Cauchy noise."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from functools import partial

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.entrywise import Apply, Each, Scale, entrywise, over_parts
from gnoise.remedies.rows import saturate_rows
from gnoise.remedies.transform import Transform


def shrink(
    form: str = "rational", scale: Scale = None, *, rows: bool = False, gain: float = 3.0, decay: float = 0.99
) -> Transform:
    r"""Shrink entries beyond a scale τ.

    It sees what its place in the optimizer gives it: alone, raw gradients, before momentum; after
    :func:`gnoise.remedies.momentum.momentum` in a chain, their averages.

    ``rational`` $x/(1+(x/\tau)^2)$ and ``quartic`` $x/(1+(x/\tau)^4)$ fall back to zero: what is far out is taken for
    noise. ``saturating`` $x/\sqrt{1+(x/\tau)^2}$ tends to ±τ and deletes nothing: use it, with ``rows``, for embeddings
    and heads, whose rare tokens have true rare gradients. 16-bit entries are computed in float32. Entries that
    are not finite come out as NaN.

    Args:
        form: see above.
        scale: τ: one number, one for each tensor, or ``None`` to track it over steps
            (:func:`gnoise.remedies.tracked_scale.track_scale`); infinity is the identity.
        rows: let a row that is loud as a whole have a scale of its own
            (:func:`gnoise.remedies.rows.saturate_rows`); of the saturating form only.
        gain: multiplies a tracked scale, and a row's own.
        decay: of a tracked scale's average over steps.

    Raises:
        UserError: no such form, ``rows`` with another than the saturating, or a scale that is not above zero.

    References:
        Song et al. 2026, arXiv 2605.27733, for shrinking by the posterior mean
        (:func:`gnoise.remedies.posterior_mean.shrink_posterior_mean`); these forms and the way the scale is
        tracked are this project's.
    """
    if form not in _FORMS:
        raise UserError(f"expected form to be one of {', '.join(_FORMS)}, got {form!r}; try form='saturating'")
    if rows and form != "saturating":
        raise UserError(f"expected rows with the saturating form only, got {form!r}; try form='saturating'")
    walk = partial(saturate_rows, gain=positive(gain, "gain")) if rows else over_parts(_FORMS[form])
    return entrywise(walk, scale, gain=gain, decay=decay, setting="scale")


# The formulas of gnoise.formulas over lists of tensors.
def _rational_(entries: list[Tensor], scales: Each) -> None:
    torch._foreach_div_(entries, _squared(entries, scales, plus=1.0))


def _quartic_(entries: list[Tensor], scales: Each) -> None:
    squared = _squared(entries, scales, plus=0.0)
    torch._foreach_div_(entries, _squared(squared, [1.0] * len(squared), plus=1.0))


def _saturating_(entries: list[Tensor], scales: Each) -> None:
    divisor = _squared(entries, scales, plus=1.0)
    torch._foreach_rsqrt_(divisor)
    torch._foreach_mul_(entries, divisor)


def _squared(entries: list[Tensor], scales: Each, *, plus: float) -> list[Tensor]:
    """Return (x/τ)² plus a number: on a CPU in one operation where τ⁻² is surely finite."""
    safe = [scale for scale in scales if not isinstance(scale, Tensor) and _SAFE[0] < scale < _SAFE[1]]
    if entries[0].device.type == "cpu" and len(safe) == len(scales):
        base = entries[0].new_full((), plus)
        return [torch.addcmul(base, x, x, value=scale**-2) for x, scale in zip(entries, safe, strict=True)]
    ratio = torch._foreach_div(entries, scales)
    torch._foreach_mul_(ratio, ratio)
    torch._foreach_add_(ratio, plus)
    return list(ratio)


_SAFE = (1e-15, 1e15)
_FORMS: dict[str, Apply] = {"rational": _rational_, "quartic": _quartic_, "saturating": _saturating_}
