"""Rare draws far above the rest: stabilize."""

from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.diagnosis import SPIKE
from gnoise.rules.rule import Findings

FEWEST_ENTRIES = 16
"""Norms of fewer entries scatter this much without any spike."""


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend the stabilizer where single draws tower over the median.

    A few loud draws move the weights in a few loud steps; dividing a gradient by the running size
    of its own norm leaves every direction as it is and takes the loudness out. Only where no gain is
    known: a gain says more than a threshold.

    References:
        GradientStabilizer, arXiv 2502.17055.
    """
    spike = findings.bounded_below("spike_ratio")
    too_small = findings.layer is not None and findings.layer.numel < FEWEST_ENTRIES
    if findings.judged or spike is None or too_small or spike[2] < SPIKE:
        return None
    estimate, value, low = spike
    return findings.recommendation(
        Remedy.STABILIZE,
        f"the loudest draw is {value:.1f} times the median (95% interval from {low:.1f}): "
        "bound the step, not the direction",
        estimate,
        findings.usable("norm_cv"),
        findings.usable("example_spike_ratio"),
        params={"gammas": [0.6, 0.999], "max_ratio": 1.0},
        severity=Severity.WARNING,
    )
