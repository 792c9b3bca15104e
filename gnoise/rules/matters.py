"""When a gain is worth having."""

from collections.abc import Sequence

from gnoise.records import Evidence, EvidenceRole, Recommendation, Remedy
from gnoise.rules.rule import Findings

MATTERS = 1.02
"""A remedy must surely gain this much in the recorded draws: less is not worth a line of code."""
SAVES = 0.02
"""And surely save this share of the tokens, how far trials were from such predictions allowed for."""
SURE = 0.05
"""And so must its p-value be, adjusted for the number of layers."""


def surely_gains(evidence: Evidence) -> bool:
    """Tell whether a gain is surely there in the recorded draws, the number of layers looked at allowed for."""
    p_value = evidence.p_value if evidence.q_value is None else evidence.q_value
    return evidence.low is not None and evidence.low >= MATTERS and p_value is not None and p_value <= SURE


def surely_matters(evidence: Evidence) -> bool:
    """Tell whether a remedy surely saves tokens, which is what one is recommended for."""
    return surely_gains(evidence) and (evidence.tokens_saved_low or 0.0) >= SAVES


def saving_words(found: Evidence | Recommendation) -> str:
    """``+6% of tokens saved (-27% to +30% if as far off as trials found)``; empty without a saving."""
    saved, low, high = found.tokens_saved, found.tokens_saved_low, found.tokens_saved_high
    if saved is None or low is None:
        return ""
    if high is None:
        return f"{_percent(saved)} of tokens saved (at least {_percent(low)} if as far off as trials found)"
    return f"{_percent(saved)} of tokens saved ({_percent(low)} to {_percent(high)} if as far off as trials found)"


def range_words(low: float | None, high: float | None, *, digits: int = 2) -> str:
    """Say a gain's interval: ``1.05 to 1.20``, or ``at least 1.05`` where only its lower end is known."""
    least = f"{low or 0.0:.{digits}f}"
    return f"at least {least}" if high is None else f"{least} to {high:.{digits}f}"


def interval_words(low: float | None, high: float | None) -> str:
    """Say the same, and that it is a 95% interval."""
    return range_words(low, high) if high is None else f"95% interval {range_words(low, high)}"


def surely_little(evidence: Evidence) -> bool:
    """Tell whether a gain is surely too small to matter."""
    return evidence.high is not None and evidence.high < MATTERS


def nearest_to_paying(evidence: Sequence[Evidence], layer: str | None) -> Evidence | None:
    """Find what pays, or comes nearest to it; ``None`` where nothing was judged.

    Learning rates are no rival of other remedies and stand beside them: they come first where they alone pay, and,
    as what a layer's rate buys is the whole model's gain, for the whole model also where they only buy more.

    Args:
        evidence: of the run.
        layer: whose; ``None`` for the whole model.
    """
    own = [each for each in evidence if each.layer == layer and each.gain is not None]
    best = next((each for each in evidence if each.layer == layer and each.role is EvidenceRole.BEST), None)
    rates = next((e for e in own if e.role is EvidenceRole.REMEDY and e.remedy == Remedy.LAYERWISE_LR), None)
    if best is None or rates is None or surely_matters(best):
        return best
    buys_more = layer is None and (best.gain is None or (rates.gain or 0.0) > best.gain)
    return rates if surely_matters(rates) or buys_more else best


def slower(findings: Findings) -> Evidence | None:
    """Find the smaller learning rate of this layer that gains the whole model something in the recorded draws."""
    if findings.layer is None:
        return None
    return next((x for x in findings.ladder if x.remedy == Remedy.LAYERWISE_LR and surely_gains(x)), None)


def rates_judged(findings: Findings) -> bool:
    """Tell whether it is known what another learning rate of this layer would buy."""
    rates = (each for each in findings.ladder if each.remedy == Remedy.LAYERWISE_LR)
    return any(each.gain is not None for each in rates)


def _percent(share: float) -> str:
    return f"{share:+.0%}" if round(share, 2) else "0%"
