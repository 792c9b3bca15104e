"""No remedy, and why: because averaging suffices, or because it cannot be told yet."""

from gnoise.records import Recommendation, Remedy, Status
from gnoise.rules.rule import Findings

GAUSSIAN_ENOUGH = -0.45
"""An averaging slope down to this counts as Gaussian, or nearly."""
_MODEL_EVIDENCE = ("spike_ratio", "example_spike_ratio", "b_simple")
_LAYER_EVIDENCE = ("averaging_slope", "alpha_draws", "spike_ratio", "b_simple")


def recommend(findings: Findings) -> Recommendation:
    """Say ``none``, always with a reason; the last rule of the list."""
    names = _MODEL_EVIDENCE if findings.layer is None else _LAYER_EVIDENCE
    because = [findings.own[name] for name in names if name in findings.own]
    deciding = findings.own.get(names[0])
    if deciding is None or deciding.value is None:
        status = Status.TOO_FEW_DRAWS if deciding is None else deciding.status
        return findings.recommendation(Remedy.NONE, f"cannot be told yet: {status.advice}", *because, status=status)
    reason = _model_reason(deciding.value) if findings.layer is None else _layer_reason(deciding.value)
    return findings.recommendation(Remedy.NONE, reason, *because)


def _model_reason(spike: float) -> str:
    return f"the loudest draw is {spike:.1f} times the median: nothing to bound for the model as a whole"


def _layer_reason(slope: float) -> str:
    if slope <= GAUSSIAN_ENOUGH:
        return f"averaging suffices: means of k draws narrow as k^{slope:.2f} (Gaussian: k^-0.50)"
    return (
        f"tails are heavier than Gaussian (k^{slope:.2f}) but not surely beyond what averaging removes: "
        "profile with more --draws if this layer matters"
    )
