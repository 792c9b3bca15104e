"""What the recorded draws say a remedy would have bought: recommend the best, or say why there is none to be had."""

import math

from gnoise.records import Evidence, Recommendation, Remedy, Severity, Status
from gnoise.rules.diagnosis import diagnose
from gnoise.rules.matters import SAVES, interval_words, range_words, saving_words, surely_gains, surely_matters
from gnoise.rules.rule import Findings

MUCH = 1.5
"""From here on it is a fault to go without."""
FEWEST_ENTRIES = 16
"""Fewer entries gain too little for a remedy of their own, whatever it buys them."""
_DISTORTS = 0.03
_HOPELESS = (
    Status.TOO_FEW_DRAWS,
    Status.ALL_ZERO,
    Status.NON_FINITE,
    Status.ONE_EXAMPLE,
    Status.NOT_FOLLOWED,
    Status.TOO_SHORT_A_BLOCK,
)


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend the remedy that surely bought the most, with its gain, its rivals and what would change the answer.

    Where nothing could be judged (too few draws, zeros, one example that is half of everything) the answer is no
    remedy, with that status. Where the mean gradient cannot be told from noise, or nothing surely matters, other
    rules speak.
    """
    best = findings.best
    if best is None:
        return None
    if best.status in _HOPELESS:
        reason = f"cannot be judged: {best.status.advice}"
        return findings.recommendation(Remedy.NONE, reason, status=best.status)
    if not surely_matters(best) or (findings.layer is not None and findings.layer.numel < FEWEST_ENTRIES):
        return None
    found = diagnose(findings)
    return findings.recommendation(
        Remedy(best.remedy),
        f"{found.words}; {best.remedy} ({best.setting}) would have bought {gain_words(best)}",
        *found.because,
        params=best.params,
        severity=Severity.CRITICAL if (best.low or 0.0) >= MUCH else Severity.WARNING,
        evidence=best,
        alternatives=alternatives(findings, best),
        unless=f"it would be none if it did not surely save {SAVES:.0%} of tokens: {findings.basis(best.n)}; profile "
        "again at another moment of the training, and let a trial decide",
    )


def gain_words(evidence: Evidence) -> str:
    """Say a gain with its interval, the batch that buys as much, and what it is worth in tokens."""
    words = (
        f"{evidence.gain:.2f} times the progress per step of no remedy ({interval_words(evidence.low, evidence.high)})"
    )
    if evidence.batch is not None and evidence.batch >= 1.0:
        words = f"{words}, as a batch {evidence.batch:.1f} times as large would"
    return ": ".join(filter(None, (words, saving_words(evidence))))


def alternatives(findings: Findings, chosen: Evidence | None) -> tuple[str, ...]:
    """Say how the remedies that were not chosen did, the best of them first, and what a larger batch would buy."""
    others = [each for each in findings.ladder if chosen is None or each.remedy != chosen.remedy]
    return (*(_why_not(each, _rival(each, chosen)) for each in others), *(_ruler(each) for each in findings.anchors))


def _rival(other: Evidence, chosen: Evidence | None) -> Evidence | None:
    """Compare only like with like: what a layer's rate buys is the whole model's gain."""
    rates = [each is not None and each.remedy == Remedy.LAYERWISE_LR for each in (other, chosen)]
    return chosen if rates[0] == rates[1] else None


def _why_not(other: Evidence, chosen: Evidence | None) -> str:
    if other.gain is None or other.low is None:
        return f"{other.remedy}: {other.status.advice}"
    if other.high is not None and other.high < 1.0:
        verdict = "harms"
    elif other.low <= 1.0:
        verdict = "not surely better than nothing"
    elif chosen is not None and chosen.low is not None and (other.high or math.inf) >= chosen.low:
        verdict = "not surely worse than the one above"
    elif chosen is not None:
        verdict = "helps less"
    else:
        verdict = _how_much(other)
    lost = 0.0 if other.bias_floor is None else 1.0 - other.bias_floor
    floor = f"; with no noise at all it would cost {lost:.0%}" if lost > _DISTORTS else ""
    return f"{other.remedy} ({other.setting}): {other.gain:.2f} ({_interval(other)}), {verdict}{floor}"


def _how_much(evidence: Evidence) -> str:
    if surely_matters(evidence):
        return "helps"
    return "helps these draws, not surely a training" if surely_gains(evidence) else "helps, too little to matter"


def _ruler(anchor: Evidence) -> str:
    return f"a batch {anchor.setting}: {anchor.gain:.2f} ({_interval(anchor)})"


def _interval(evidence: Evidence) -> str:
    return range_words(evidence.low, evidence.high)
