"""No remedy, and why: because averaging suffices, or because it cannot be told yet."""

from gnoise.records import Estimate, Recommendation, Remedy, Status
from gnoise.rules.heavy_entries import SLOPE
from gnoise.rules.norm_spikes import SPIKE
from gnoise.rules.rule import Findings

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
    if findings.layer is None:
        return findings.recommendation(Remedy.NONE, _model_reason(deciding.value), *because)
    return findings.recommendation(Remedy.NONE, _layer_reason(deciding, deciding.value), *because)


def averaging_suffices(slope: Estimate) -> bool:
    """Tell whether averaging surely narrows this noise about as it narrows Gaussian noise."""
    return slope.high is not None and slope.high <= SLOPE


def _model_reason(spike: float) -> str:
    if spike >= SPIKE:
        return f"one draw is {spike:.1f} times the median, but it stands alone: profile with more --draws to be sure"
    return f"the loudest draw is {spike:.1f} times the median: nothing to bound for the model as a whole"


def _layer_reason(slope: Estimate, value: float) -> str:
    if averaging_suffices(slope):
        return f"averaging suffices: means of k draws narrow as k^{value:.2f} (Gaussian: k^-0.50)"
    if slope.low is not None and slope.low > SLOPE:
        return (
            f"averaging is slow (k^{value:.2f}; Gaussian: k^-0.50), but the other views do not agree on heavy-tailed "
            "noise: rare large gradients, as of rare tokens, look like this"
        )
    return (
        f"cannot be told apart from Gaussian noise (averaging narrows it as k^{value:.2f}): profile with more --draws"
    )
