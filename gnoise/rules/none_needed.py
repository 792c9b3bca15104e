"""No remedy, and why: because none pays, because averaging suffices, or because it cannot be told yet."""

from gnoise.records import Estimate, Evidence, Recommendation, Remedy, Status
from gnoise.rules.by_evidence import alternatives
from gnoise.rules.diagnosis import SLOPE, SPIKE
from gnoise.rules.matters import SAVES, nearest_to_paying, range_words, saving_words, surely_little
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
    words = _model_reason if findings.layer is None else _layer_reason
    best = nearest_to_paying(findings.evidence, findings.layer and findings.layer.name)
    return findings.recommendation(
        Remedy.NONE,
        "; ".join(filter(None, (words(deciding, deciding.value), _evidence_words(best, findings.judged_words)))),
        *because,
        alternatives=alternatives(findings, None),
        unless=""
        if best is None or best.gain is None
        else f"a remedy that surely saves {SAVES:.0%} of tokens: {findings.basis(best.n)}",
    )


def averaging_suffices(slope: Estimate) -> bool:
    """Tell whether averaging surely narrows this noise about as it narrows Gaussian noise."""
    return slope.high is not None and slope.high <= SLOPE


def _evidence_words(best: Evidence | None, judged: str) -> str:
    if best is None:
        return ""
    if best.gain is None or best.low is None:
        return f"what a remedy would buy cannot be told: {best.status.advice}"
    interval = range_words(best.low, best.high)
    surely = "" if surely_little(best) else " surely"
    gain = f"the best, {best.remedy}, would buy {best.gain:.2f} times as much ({interval}){judged}"
    return f"no remedy{surely} matters: {': '.join(filter(None, (gain, saving_words(best))))}"


def _model_reason(estimate: Estimate, spike: float) -> str:
    if spike >= SPIKE:
        alone = estimate.low is None or estimate.low < SPIKE
        more = ", but it stands alone: profile with more --draws to be sure" if alone else ""
        return f"one draw is {spike:.1f} times the median{more}"
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
