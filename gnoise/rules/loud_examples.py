"""Single examples far above the rest: a data fault until shown otherwise."""

from gnoise.records import Recommendation, Remedy, Severity, Status
from gnoise.rules.rule import Findings

LOUD = 4.0
"""One-example gradient norms this many times the median, at the low end, name their examples."""


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend the stabilizer for the model where single examples, not draws, are out of line.

    Judged on the whole model only: one example's share of one small tensor says little. The reason
    names the examples, because reading them comes before any remedy.
    """
    loud = findings.usable("example_spike_ratio")
    if findings.layer is not None or loud is None or loud.low is None or loud.low < LOUD:
        return None
    named = f": {loud.note}" if loud.note else ""
    return findings.recommendation(
        Remedy.STABILIZE,
        f"single examples have gradients up to {loud.value:.1f} times the median (95% interval {loud.low:.1f} to "
        f"{loud.high:.1f}){named}; read them first, until they are gone the stabilizer bounds what they do",
        loud,
        findings.usable("spike_ratio"),
        params={"gammas": [0.6, 0.999], "max_ratio": 1.0},
        status=Status.OK,
        severity=Severity.WARNING,
    )
