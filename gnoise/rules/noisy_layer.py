"""A layer far noisier than others of its kind: give it a smaller learning rate."""

import statistics

from gnoise.formulas import lr_multiplier
from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.rule import Findings

RATIO = 8.0
"""Noise scale above the median of its kind, at the low end of the interval."""
_PEERS = 4
_FLOOR = 0.25


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend a learning-rate multiplier where a layer's noise scale stands out among its kind.

    The multiplier is the square root of (median noise scale / its noise scale), never below a quarter. The
    square root is LANTON's (eta_l = eta sqrt(alpha_l / max alpha)); the noise scale in place of its noise
    estimate H is this project's, until H is measured.

    References:
        LANTON, arXiv 2510.14009.
    """
    own = findings.usable("b_simple")
    known = [e["b_simple"].value for e in findings.peers if "b_simple" in e]
    scales = [value for value in known if value is not None]
    if findings.layer is None or own is None or own.value is None or own.low is None or len(scales) < _PEERS:
        return None
    median = statistics.median(scales)
    if own.low < RATIO * median:
        return None
    return findings.recommendation(
        Remedy.LAYERWISE_LR,
        f"its noise scale is {own.value / median:.0f} times the median of the {len(scales)} "
        "tensors of its family: the step it takes is mostly noise",
        own,
        params={"lr_multiplier": round(max(_FLOOR, lr_multiplier(median / own.value, 1.0)), 3)},
        severity=Severity.WARNING,
    )
