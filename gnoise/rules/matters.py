"""When a gain is worth having."""

from gnoise.records import Evidence, Remedy
from gnoise.rules.rule import Findings

MATTERS = 1.02
"""A remedy must surely buy this much, at the low end of its interval: less is not worth a line of code."""
SURE = 0.05
"""And so must its p-value be, adjusted for the number of layers."""


def surely_matters(evidence: Evidence) -> bool:
    """Tell whether a gain is surely worth having, the number of layers looked at allowed for."""
    p_value = evidence.p_value if evidence.q_value is None else evidence.q_value
    return evidence.low is not None and evidence.low >= MATTERS and p_value is not None and p_value <= SURE


def slower(findings: Findings) -> Evidence | None:
    """Find the smaller learning rate of this layer that surely buys the whole model something."""
    if findings.layer is None:
        return None
    return next((x for x in findings.ladder if x.remedy == Remedy.LAYERWISE_LR and surely_matters(x)), None)


def rates_judged(findings: Findings) -> bool:
    """Tell whether it is known what another learning rate of this layer would buy."""
    rates = (each for each in findings.ladder if each.remedy == Remedy.LAYERWISE_LR)
    return any(each.gain is not None for each in rates)
