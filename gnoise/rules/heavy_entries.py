"""Heavy-tailed noise in entries which averaging does not remove: shrink or clip."""

from gnoise.records import JsonValue, Kind, Layer, Recommendation, Remedy, Severity
from gnoise.rules.diagnosis import ALPHA, SLOPE
from gnoise.rules.rule import Findings

LOCALIZED = 0.3
"""In matrices the largest entry must carry this much of the largest singular value, else whole draws are loud."""
_SCALES = 3.0


def recommend(findings: Findings) -> Recommendation | None:
    """Recommend an entry-wise rule where two views agree that the noise itself is heavy.

    The pooled tail index is never asked: unequal scales alone lower it. Matrices get the smooth
    shrinkage, token rows its saturating form row by row, which never deletes a true rare gradient, and
    vectors, too short for a scale of their own, a plain clip. Only where no gain is known: noise this heavy can hide
    the mean gradient itself.
    """
    slope = findings.usable("averaging_slope")
    alpha = findings.usable("alpha_draws")
    survives = findings.own.get("alpha_averaging")
    if (
        findings.judged
        or findings.layer is None
        or slope is None
        or alpha is None
        or survives is None
        or survives.value is None
    ):
        return None
    if _spread_over_entries(findings):
        return None
    if slope.low is None or alpha.high is None or slope.low < SLOPE or alpha.high > ALPHA:
        return None
    gamma = findings.bounded_below("gamma_entries")
    if gamma is None:
        return None
    remedy, params = _entrywise(findings.layer, _SCALES * gamma[1])
    return findings.recommendation(
        remedy,
        f"averaging k draws narrows this noise only as k^{slope.value:.2f} (Gaussian: k^-0.50), and with unequal "
        f"scales taken out its tail index is {alpha.value:.2f}: a larger batch will not tame it",
        slope,
        survives,
        alpha,
        gamma[0],
        params=params,
        severity=Severity.WARNING,
    )


def _spread_over_entries(findings: Findings) -> bool:
    """Tell loud draws from loud entries: only the latter have one entry that makes the top singular value."""
    ratio = findings.own.get("max_entry_ratio")
    return ratio is not None and ratio.value is not None and ratio.value < LOCALIZED


def _entrywise(layer: Layer, scale: float) -> tuple[Remedy, dict[str, JsonValue]]:
    if len(layer.shape) < 2:
        return Remedy.CLIP, {"clip_value": scale}
    if layer.kind in (Kind.EMBEDDING, Kind.HEAD):
        return Remedy.SHRINK, {"form": "saturating", "rows": True, "scale": scale}
    return Remedy.SHRINK, {"form": "rational", "scale": scale}
