"""Numbers as people read them: never without unit, interval and status."""

from collections.abc import Callable

from gnoise.quantities import QUANTITIES, SHARE
from gnoise.records import Estimate

_SLOPES = frozenset({"averaging_slope"})


def number(value: float) -> str:
    """Three significant digits, no exponent between a thousandth and a million."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        digits = max(0, 2 - _exponent(value))
        return f"{value:,.{digits}f}"
    return f"{value:.2e}"


def interval(estimate: Estimate) -> str:
    """``95% interval a to b``, or what is known of it."""
    if estimate.low is not None and estimate.high is not None:
        return f"95% interval {number(estimate.low)} to {number(estimate.high)}"
    if estimate.low is not None:
        return f"at least {number(estimate.low)} (95%)"
    if estimate.high is not None:
        return f"at most {number(estimate.high)} (95%)"
    return "no interval"


def short(estimate: Estimate | None, *, signed: bool = False) -> str:
    """A table cell: the value and its interval, or a dash."""
    if estimate is None:
        return "–"
    shown = _writer(estimate.quantity)
    if estimate.value is None:
        return f"≥ {shown(estimate.low)}" if estimate.low is not None else "–"
    value = with_sign(estimate.value) if signed else shown(estimate.value)
    if estimate.low is None:
        return value
    if estimate.high is None:
        return f"{value} (≥ {shown(estimate.low)})"
    return f"{value} ({shown(estimate.low)} to {shown(estimate.high)})"


def compact(estimate: Estimate | None, *, signed: bool = False) -> str:
    """The narrowest cell: the value and the larger half of its interval."""
    if estimate is None or estimate.value is None:
        return short(estimate)
    value = with_sign(estimate.value) if signed else number(estimate.value)
    if estimate.low is None or estimate.high is None:
        return short(estimate, signed=signed)
    half = max(estimate.value - estimate.low, estimate.high - estimate.value)
    return f"{value} ±{half:.1g}" if half < 9.5 else f"{value} ±{half:,.0f}"


def sentence(estimate: Estimate, *, unit: str | None = None) -> str:
    """``noise scale (B_simple): 412 sequences, 95% interval 380 to 455``; advice where there is no number."""
    quantity = QUANTITIES[estimate.quantity]
    symbol = f" ({quantity.symbol})" if quantity.symbol else ""
    name = f"{quantity.words}{symbol}"
    if estimate.value is None:
        known = f" {interval(estimate)};" if estimate.low is not None else ""
        return f"{name}:{known} {estimate.status.advice}"
    shown_unit = quantity.unit if unit is None else unit
    if shown_unit == SHARE:
        low, high = estimate.low or 0.0, 1.0 if estimate.high is None else estimate.high
        text = f"{name}: {_percent(estimate.value)}, 95% interval {_percent(low)} to {_percent(high)}"
    else:
        text = f"{name}: {number(estimate.value)}{' ' + shown_unit if shown_unit else ''}, {interval(estimate)}"
    return text if estimate.status == "ok" else f"{text}; {estimate.status.advice}"


def plural(word: str) -> str:
    """``sequence`` to ``sequences``; good for the words examples go by."""
    return word if word.endswith("s") else f"{word}s"


def _writer(quantity: str) -> Callable[[float], str]:
    """Choose how to write a quantity's numbers."""
    if quantity in _SLOPES:
        return with_sign
    return _percent if QUANTITIES[quantity].unit == SHARE else number


def _percent(share: float) -> str:
    return f"{share:.1%}"


def with_sign(value: float) -> str:
    """Two decimals and the sign: slopes, whose zero means something."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
