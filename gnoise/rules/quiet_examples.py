"""Examples that teach next to nothing: a data fault, which no optimizer mends."""

from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.rule import Findings

SHARE = 0.00135
"""Twice the share that lies as far below the median in lognormal norms, with a loss above the median."""


def recommend(findings: Findings) -> Recommendation | None:
    """Warn, without a remedy, where surely more examples are quiet than chance makes."""
    quiet = findings.usable("quiet_example_share")
    if findings.layer is not None or quiet is None or quiet.value is None or quiet.low is None:
        return None
    if quiet.low <= SHARE:
        return None
    return findings.recommendation(
        Remedy.NONE,
        f"{quiet.value:.1%} of the examples (95% interval {quiet.low:.1%} to {quiet.high:.1%}) have gradients far "
        f"smaller than the rest at an ordinary or high loss, as encoded or random data have ({quiet.note}); "
        "read those examples: no optimizer mends them",
        quiet,
        findings.usable("spike_ratio"),
        severity=Severity.WARNING,
    )
