"""No remedy, and why: because averaging suffices, or because it cannot be told yet."""

from gnoise.records import Estimate, Recommendation, Remedy, Status
from gnoise.rules.rule import Findings

_GAUSSIAN = -0.5
_NEAR = 0.1
_MODEL_EVIDENCE = ("spike_ratio", "example_spike_ratio", "b_simple")
_LAYER_EVIDENCE = ("averaging_slope", "alpha_draws", "spike_ratio", "b_simple")


def recommend(findings: Findings) -> Recommendation:
    """Say ``none``, always with a reason; the last rule of the list."""
    names = _MODEL_EVIDENCE if findings.layer is None else _LAYER_EVIDENCE
    because = [findings.own[name] for name in names if name in findings.own]
    if findings.layer is None:
        return findings.recommendation(Remedy.NONE, _model_reason(findings), *because, status=_status(because[:1]))
    slope = findings.own.get("averaging_slope")
    if slope is None or slope.value is None:
        status = Status.TOO_FEW_DRAWS if slope is None else slope.status
        return findings.recommendation(Remedy.NONE, f"cannot be told yet: {status.advice}", *because, status=status)
    return findings.recommendation(Remedy.NONE, _layer_reason(slope), *because)


def _status(estimates: list[Estimate]) -> Status:
    return next((e.status for e in estimates if e.value is None), Status.OK)


def _model_reason(findings: Findings) -> str:
    spike = findings.own.get("spike_ratio")
    if spike is None or spike.value is None:
        status = Status.TOO_FEW_DRAWS if spike is None else spike.status
        return f"cannot be told yet: {status.advice}"
    return f"the loudest draw is {spike.value:.1f} times the median: nothing to bound for the model as a whole"


def _layer_reason(slope: Estimate) -> str:
    if slope.value is not None and slope.value <= _GAUSSIAN + _NEAR:
        return f"averaging suffices: means of k draws narrow as k^{slope.value:.2f} (Gaussian: k^-0.50)"
    return (
        f"tails are heavier than Gaussian (k^{slope.value:.2f}) but not surely beyond what averaging removes: "
        "profile with more --draws if this layer matters"
    )
