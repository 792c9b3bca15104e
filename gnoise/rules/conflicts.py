"""One remedy does for the whole model what many layers ask for: then the layers leave it to the model."""

from collections.abc import Sequence
from dataclasses import replace

from gnoise.records import Evidence, EvidenceRole, Recommendation, Remedy, Severity
from gnoise.rules.rule import Findings


def resolve(recommendations: Sequence[Recommendation], subjects: Sequence[Findings]) -> list[Recommendation]:
    """Take a layer's own remedy back where the model's remedy buys that layer as much, as far as one can tell.

    Args:
        recommendations: the model's first.
        subjects: what each was made from, in the same order.
    """
    model, best = recommendations[0], subjects[0].best
    if model.remedy is Remedy.NONE or model.gain is None or best is None:
        return list(recommendations)
    pairs = zip(recommendations[1:], subjects[1:], strict=True)
    return [model, *(_left(own, findings, best) for own, findings in pairs)]


def _left(own: Recommendation, findings: Findings, of_model: Evidence) -> Recommendation:
    if own.remedy in (Remedy.NONE, Remedy.LAYERWISE_LR) or own.gain_low is None:
        return own
    gain = next((each.gain for each in findings.evidence if _same(each, of_model)), None)
    if gain is None or gain < own.gain_low:
        return own
    return replace(
        own,
        remedy=Remedy.NONE,
        params={},
        severity=Severity.INFO,
        reason=f"{of_model.remedy} for the whole model does as much here as the layer's own {own.remedy}: {own.reason}",
        unless=f"the whole model goes without {of_model.remedy}",
    )


def _same(evidence: Evidence, other: Evidence) -> bool:
    one = evidence.role is EvidenceRole.SETTING
    return one and (evidence.remedy, evidence.setting) == (other.remedy, other.setting)
