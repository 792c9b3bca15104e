"""What changed from one run to another, with intervals for the change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, stdtr

from gnoise.quantities import QUANTITIES, SHARE
from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.discovery import FALSE_DISCOVERY_RATE, benjamini_hochberg
from gnoise.stats.intervals import t_interval
from gnoise.stats.noise_scale import block_moments

LOSS = "loss"
"""Mean loss of the draws: compared where two runs drew the same examples."""
PAIRED = ("b_simple", "grad_sq_norm", "trace_cov")
"""What is compared block by block where both runs drew the same examples."""

_DIFFERENCES = ("averaging_slope", "xi_moment_draws", "xi_hill_draws", "ipr_left", "ipr_right", "departure_draws")
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Change:
    """One quantity of one layer in two runs.

    Attributes:
        layer: layer name; ``None`` for the whole model.
        quantity: a name from :mod:`gnoise.quantities`, or ``loss``.
        first: in the first run; ``None`` where it has no number.
        second: in the second run.
        ratio: whether ``change`` is the second over the first, not the second less the first.
        change: of the value; ``None`` with a status.
        low: lower end of its 95% interval; ``None`` where unbounded.
        high: upper end.
        paired: whether both runs drew the same examples and were compared block by block.
        p_value: of no change, two-sided; ``None`` where an end is unbounded.
        q_value: the same, adjusted for the layers compared in this quantity.
        status: ``OK``, or why one of the two has no number.
    """

    layer: str | None
    quantity: str
    first: float | None
    second: float | None
    ratio: bool
    change: float | None
    low: float | None
    high: float | None
    paired: bool
    p_value: float | None
    status: Status
    q_value: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether chance hardly explains it, other layers' chances included."""
        return self.q_value is not None and self.q_value <= FALSE_DISCOVERY_RATE


def is_ratio(quantity: str) -> bool:
    """Whether a change of this quantity is read as a ratio: scales and counts are, indices and shares are not.

    Args:
        quantity: a name from :mod:`gnoise.quantities`.
    """
    known = QUANTITIES[quantity]
    return known.symbol not in ("α", "ξ") and known.unit != SHARE and quantity not in _DIFFERENCES


def change_of(first: Estimate, second: Estimate) -> Change:
    r"""Compare two independent estimates of one quantity by their own intervals.

    For a difference $\theta_2 - \theta_1$ with intervals $(l_i, u_i)$ the ends are

    $$\theta_2 - \theta_1 \mp \sqrt{(\theta_2 - l_2)^2 + (u_1 - \theta_1)^2}$$

    for the lower and likewise for the upper; a ratio is the same on logarithms. No shape of interval is assumed.

    Args:
        first: of one run.
        second: of the other, same layer and quantity.

    References:
        Zou & Donner 2008, *Construction of confidence limits about effect measures: a general approach*, Statistics in
        Medicine 27(10).
    """
    ratio = is_ratio(second.quantity)
    values = (first.value, second.value)
    bare = Change(second.layer, second.quantity, *values, ratio, None, None, None, False, None, _status(first, second))
    if first.value is None or second.value is None or (ratio and min(first.value, second.value) <= 0.0):
        return bare
    a, b = (_on_scale(each, ratio) for each in (first, second))
    apart = b[0] - a[0]
    low = None if b[1] is None or a[2] is None else apart - float(np.hypot(b[0] - b[1], a[2] - a[0]))
    high = None if b[2] is None or a[1] is None else apart + float(np.hypot(b[2] - b[0], a[0] - a[1]))
    return replace(
        bare,
        change=_off_scale(apart, ratio),
        low=None if low is None else _off_scale(low, ratio),
        high=None if high is None else _off_scale(high, ratio),
        p_value=_p_value(apart, low, high),
        status=Status.OK,
    )


def paired_changes(
    first: NormSample, second: NormSample, estimates: Sequence[tuple[Estimate, Estimate]]
) -> list[Change]:
    """Compare noise scale, signal and noise of two runs that drew the same examples, block by block.

    Each block's share in the logarithm of a ratio is one value; the interval is Student's t over blocks of the
    difference of shares, in which what both runs owe to the examples they share cancels.

    Args:
        first: of one run.
        second: of the other: the same draws of the same examples, in the same blocks.
        estimates: pairs of the same layer, of quantities among :data:`PAIRED`.
    """
    shares = [_shares(sample) for sample in (first, second)]
    found: list[Change] = []
    for one, other in estimates:
        plain = change_of(one, other)
        pair = [share.get(other.quantity) for share in shares]
        if plain.change is None or pair[0] is None or pair[1] is None:
            found.append(plain)
            continue
        apart = pair[1] - pair[0]
        stderr = float(apart.std(ddof=1)) / float(np.sqrt(apart.size))
        middle = float(np.log(plain.change))
        ends = t_interval(middle, stderr, apart.size - 1)
        p_value = 2.0 * float(stdtr(apart.size - 1, -abs(middle) / stderr)) if stderr > 0.0 else float(middle == 0.0)
        low, high = float(np.exp(ends.low)), float(np.exp(ends.high))
        found.append(replace(plain, low=low, high=high, p_value=p_value, paired=True))
    return found


def loss_change(first: Float[np.ndarray, "draws examples"], second: Float[np.ndarray, "draws examples"]) -> Change:
    """Compare the mean losses of two runs that drew the same examples, draw by draw.

    Args:
        first: of one run.
        second: of the other.
    """
    apart = (second - first).mean(axis=1)
    mean, stderr = float(apart.mean()), float(apart.std(ddof=1)) / float(np.sqrt(apart.size))
    ends = t_interval(mean, stderr, apart.size - 1)
    p_value = 2.0 * float(stdtr(apart.size - 1, -abs(mean) / stderr)) if stderr > 0.0 else float(mean == 0.0)
    values = float(first.mean()), float(second.mean())
    return Change(None, LOSS, *values, False, mean, ends.low, ends.high, True, p_value, Status.OK)


def adjusted(changes: Sequence[Change]) -> list[Change]:
    """Adjust p-values for the number of layers compared in each quantity.

    Args:
        changes: of all layers and quantities.
    """
    out = list(changes)
    by_quantity: dict[str, list[int]] = {}
    for place, change in enumerate(changes):
        if change.p_value is not None:
            by_quantity.setdefault(change.quantity, []).append(place)
    for places in by_quantity.values():
        p_values = np.array([changes[place].p_value for place in places], dtype=np.float64)
        for place, q in zip(places, benjamini_hochberg(p_values), strict=True):
            out[place] = replace(out[place], q_value=float(q))
    return out


def _status(first: Estimate, second: Estimate) -> Status:
    return next((each.status for each in (first, second) if each.value is None), Status.NO_SIGNAL)


def _on_scale(estimate: Estimate, ratio: bool) -> tuple[float, float | None, float | None]:
    """Value and ends, logarithms for a ratio; an end at or below zero is then no bound."""
    value = float(estimate.value or 0.0)
    if not ratio:
        return value, estimate.low, estimate.high
    low = None if estimate.low is None or estimate.low <= 0.0 else float(np.log(estimate.low))
    return float(np.log(value)), low, None if estimate.high is None else float(np.log(estimate.high))


def _off_scale(value: float, ratio: bool) -> float:
    return float(np.exp(value)) if ratio else value


def _p_value(apart: float, low: float | None, high: float | None) -> float | None:
    """Read a two-sided p-value off the half of the interval that faces no change."""
    facing = low if apart > 0.0 else high
    if facing is None:
        return None
    half = abs(apart - facing)
    return float(2.0 * ndtr(-abs(apart) / half * _NORMAL_95)) if half > 0.0 else float(apart == 0.0)


def _shares(sample: NormSample) -> dict[str, Float[np.ndarray, " blocks"]]:
    """Each block's share in the logarithms: first-order changes of the whole with the block's moments."""
    if sample.block_sq_norms.size < 2 or sample.draw_sq_norms.size < 2:
        return {}
    moments = block_moments(sample)
    signal, trace = moments.grad_sq_norm, moments.trace_cov
    if signal.mean() <= 0.0 or trace.mean() <= 0.0:
        return {}
    of_signal, of_trace = signal / signal.mean(), trace / trace.mean()
    return {"b_simple": of_trace - of_signal, "grad_sq_norm": of_signal, "trace_cov": of_trace}
