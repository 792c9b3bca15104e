"""A layer whose step is mostly noise: give it a smaller learning rate."""

from gnoise.formulas import lr_multiplier
from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.by_evidence import alternatives, gain_words
from gnoise.rules.matters import SAVES, rates_judged, slower, surely_matters
from gnoise.rules.noise_ratio import RATIO, NoiseRatio, noise_ratio
from gnoise.rules.rule import Findings

_FLOOR = 0.25


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend the learning-rate multiplier that surely buys the model something.

    Where nothing could be judged, one where the layer's noise scale stands out among its kind: the square root of
    (median noise scale / its own), never below a quarter. The square root is LANTON's (eta_l = eta sqrt(alpha_l / max
    alpha)); the noise scale in place of its noise estimate H is this project's.

    References:
        LANTON, arXiv 2510.14009.
    """
    ratio, pays = noise_ratio(findings), slower(findings)
    if pays is not None and surely_matters(pays):
        return findings.recommendation(
            Remedy.LAYERWISE_LR,
            f"{_words(ratio)}the step it takes is mostly noise, and a learning rate {pays.params['lr_multiplier']} "
            f"times as large would have bought the whole model {gain_words(pays)}, curvature taken as comparable "
            "across layers",
            findings.usable("b_simple"),
            params=pays.params,
            severity=Severity.WARNING,
            evidence=pays,
            alternatives=alternatives(findings, pays),
            unless=f"it would be none if it did not surely save {SAVES:.0%} of the model's tokens: "
            f"{findings.basis(pays.n)}; profile again at another moment of the training, and let a trial decide",
        )
    if findings.judged or rates_judged(findings) or ratio is None or ratio.low < RATIO:
        return None
    return findings.recommendation(
        Remedy.LAYERWISE_LR,
        f"{_words(ratio)}the step it takes is mostly noise",
        findings.usable("b_simple"),
        params={"lr_multiplier": round(max(_FLOOR, lr_multiplier(1.0 / ratio.value, 1.0)), 3)},
        severity=Severity.WARNING,
    )


def _words(ratio: NoiseRatio | None) -> str:
    if ratio is None:
        return ""
    return f"its noise scale is {ratio.value:.0f} times the median of the {ratio.peers} tensors of its family: "
