"""A layer far noisier than others of its kind: give it a smaller learning rate."""

from gnoise.formulas import lr_multiplier
from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.noise_ratio import RATIO, noise_ratio
from gnoise.rules.rule import Findings

_FLOOR = 0.25


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend a learning-rate multiplier where a layer's noise scale stands out among its kind.

    The multiplier is the square root of (median noise scale / its noise scale), never below a quarter. The
    square root is LANTON's (eta_l = eta sqrt(alpha_l / max alpha)); the noise scale in place of its noise
    estimate H is this project's, until H is measured.

    References:
        LANTON, arXiv 2510.14009.
    """
    ratio = noise_ratio(findings)
    if ratio is None or ratio.low < RATIO:
        return None
    return findings.recommendation(
        Remedy.LAYERWISE_LR,
        f"its noise scale is {ratio.value:.0f} times the median of the {ratio.peers} "
        "tensors of its family: the step it takes is mostly noise",
        findings.usable("b_simple"),
        params={"lr_multiplier": round(max(_FLOOR, lr_multiplier(1.0 / ratio.value, 1.0)), 3)},
        severity=Severity.WARNING,
    )
