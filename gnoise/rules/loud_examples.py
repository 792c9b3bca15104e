"""Single examples far above the rest: a data fault until shown otherwise."""

from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.rule import Findings

LOUD = 3.0
"""One-example gradient norms this many times the median, at the low end, are loud enough to matter."""
SHARE = 0.001
"""And surely more than this share of the examples lies outside of the run's own spread of norms."""


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend the stabilizer for the model where single examples, not draws, are out of line.

    Norms that are merely widely spread do not count: the examples must stand apart from the spread
    of all the others. Judged on the whole model only: one example's share of one small tensor says
    little. The reason names the examples, because reading them comes before any remedy.
    """
    loud, apart = findings.bounded_below("example_spike_ratio"), findings.bounded_below("loud_example_share")
    if findings.layer is not None or loud is None or apart is None or loud[2] < LOUD or apart[2] < SHARE:
        return None
    estimate, value, low = loud
    named = f": {estimate.note}" if estimate.note else ""
    return findings.recommendation(
        Remedy.STABILIZE,
        f"{apart[1]:.1%} of the examples have gradients far outside of the others' spread, up to {value:.1f} times the "
        f"median (95% interval from {low:.1f}){named}; read them first, until they are gone the stabilizer bounds "
        "what they do",
        estimate,
        apart[0],
        findings.usable("spike_ratio"),
        params={"gammas": [0.6, 0.999], "max_ratio": 1.0},
        severity=Severity.WARNING,
    )
