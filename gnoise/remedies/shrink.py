"""Shrink large entries towards zero, smoothly: surrogates of a posterior mean under Cauchy noise."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from functools import partial
from typing import cast

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.clip_norm import positive
from gnoise.remedies.entrywise import Alone, Each, Scale, Together, entrywise, over_parts
from gnoise.remedies.positions import constants
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
    walk = (
        partial(saturate_rows, gain=positive(gain, "gain"), together=_saturating_all_)
        if rows
        else over_parts(*_FORMS[form])
    )
    return entrywise(walk, scale, gain=gain, decay=decay, setting="scale")


# The formulas of gnoise.formulas in place: of one part by as few passes as they take, and of lists of tensors.
def _rational_(entries: Tensor, scale: float) -> None:
    entries.div_(_square_over(entries, scale))


def _quartic_(entries: Tensor, scale: float) -> None:
    if _SAFE_TO_FOURTH[0] < scale < _SAFE_TO_FOURTH[1]:
        squared = entries * entries
        entries.div_(torch.addcmul(squared.new_ones(()), squared, squared, value=scale**-4, out=squared))
    else:
        squared = (entries / scale).square_()
        entries.div_(torch.addcmul(squared.new_ones(()), squared, squared, out=squared))


def _saturating_(entries: Tensor, scale: float) -> None:
    entries.mul_(_square_over(entries, scale).rsqrt_())


def _square_over(entries: Tensor, scale: float) -> Tensor:
    """Return 1 + (x/τ)², in one operation where τ⁻² is surely finite."""
    one = entries.new_ones(())
    if _SAFE[0] < scale < _SAFE[1]:
        return torch.addcmul(one, entries, entries, value=scale**-2)
    ratio = entries / scale
    return torch.addcmul(one, ratio, ratio)


def _rational_all_(entries: list[Tensor], scales: Each) -> None:
    torch._foreach_div_(entries, _divisors(entries, scales, powers=1))


def _quartic_all_(entries: list[Tensor], scales: Each) -> None:
    torch._foreach_div_(entries, _divisors(entries, scales, powers=2))


def _saturating_all_(entries: list[Tensor], scales: Each) -> None:
    divisor = _divisors(entries, scales, powers=1)
    torch._foreach_rsqrt_(divisor)
    torch._foreach_mul_(entries, divisor)


def _divisors(entries: list[Tensor], scales: Each, *, powers: int) -> list[Tensor]:
    """Return 1 + (x/τ)², or with two powers 1 + (x/τ)⁴.

    Tensors share launches; very large ones have one of their own, which goes through memory once, not three times.
    """
    least, most = _SAFE if powers == 1 else _SAFE_TO_FOURTH
    numbers = {i: x for i, x in enumerate(scales) if not isinstance(x, Tensor) and least < x < most}
    large = [i for i in numbers if entries[i].numel() > _WORTH_A_LAUNCH]
    found = _divisors_alone([entries[i] for i in large], [numbers[i] for i in large], powers=powers)
    held = dict(zip(large, found, strict=True))
    rest = [i for i in range(len(entries)) if i not in held]
    if rest:
        ratio = torch._foreach_div([entries[i] for i in rest], cast("Each", [scales[i] for i in rest]))
        for _ in range(powers):
            torch._foreach_mul_(ratio, ratio)
        torch._foreach_add_(ratio, 1.0)
        held |= zip(rest, ratio, strict=True)
    return [held[i] for i in range(len(entries))]


def _divisors_alone(entries: list[Tensor], scales: list[float], *, powers: int) -> list[Tensor]:
    if not entries:
        return []
    one = constants((1.0,), entries[0].device, entries[0].dtype)
    if powers == 1:
        return [torch.addcmul(one, x, x, value=scale**-2) for x, scale in zip(entries, scales, strict=True)]
    squares = torch._foreach_mul(entries, entries)
    return [torch.addcmul(one, x, x, value=scale**-4, out=x) for x, scale in zip(squares, scales, strict=True)]


_WORTH_A_LAUNCH = 1 << 20
"""Entries from which a GPU needs longer to go through memory twice more than a host needs for a launch."""
_SAFE = (1e-15, 1e15)
_SAFE_TO_FOURTH = (3e-8, 1e3)
_FORMS: dict[str, tuple[Alone, Together]] = {
    "rational": (_rational_, _rational_all_),
    "quartic": (_quartic_, _quartic_all_),
    "saturating": (_saturating_, _saturating_all_),
}
