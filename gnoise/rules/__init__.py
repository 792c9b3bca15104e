"""One subject's estimates in, one recommendation out. The first rule that speaks wins."""

from collections.abc import Sequence

from gnoise.records import Estimate, Evidence, Kind, Layer, Recommendation, Verdict
from gnoise.rules import (
    by_evidence,
    heavy_entries,
    loud_examples,
    noisy_layer,
    none_needed,
    norm_spikes,
    quiet_examples,
)
from gnoise.rules.conflicts import resolve
from gnoise.rules.diagnosis import Diagnosis, diagnose
from gnoise.rules.rule import Estimates, Findings, Rule

RULES: tuple[Rule, ...] = (
    loud_examples.recommend,
    quiet_examples.recommend,
    by_evidence.recommend,
    heavy_entries.recommend,  # before spikes: heavy entries make norms spike, not the other way round
    norm_spikes.recommend,
    noisy_layer.recommend,
    none_needed.recommend,
)

_FAMILIES = {Kind.ATTENTION: "hidden", Kind.MLP: "hidden", Kind.CONV: "hidden", Kind.OTHER: "hidden"}


def recommend_all(
    layers: Sequence[Layer],
    estimates: Sequence[Estimate],
    verdicts: Sequence[Verdict] = (),
    evidence: Sequence[Evidence] = (),
    *,
    path_steps: int = 0,
    under: str = "",
) -> list[Recommendation]:
    """Give the model and every layer one recommendation each, ``none`` included.

    Args:
        layers: in the model's order.
        estimates: of the model (``layer`` is ``None``) and of the layers.
        verdicts: likewise.
        evidence: likewise.
        path_steps: of the optimizer that the weights took between draws.
        under: words for the optimizer that remedies were judged under; empty where it is the checkpoint's own.
    """
    by_layer: dict[str | None, dict[str, Estimate]] = {None: {}} | {layer.name: {} for layer in layers}
    for estimate in estimates:
        by_layer[estimate.layer][estimate.quantity] = estimate
    answers: dict[str | None, dict[str, Verdict]] = {name: {} for name in by_layer}
    for verdict in verdicts:
        answers[verdict.layer][verdict.question] = verdict
    gains: dict[str | None, list[Evidence]] = {name: [] for name in by_layer}
    for each in evidence:
        gains[each.layer].append(each)
    subjects = [Findings(None, by_layer[None], (), answers[None], tuple(gains[None]), path_steps, under)]
    for layer in layers:
        peers = _peers(layer, layers, by_layer)
        own = (by_layer[layer.name], peers, answers[layer.name], tuple(gains[layer.name]))
        subjects.append(Findings(layer, *own, path_steps, under))
    return resolve([recommend(findings) for findings in subjects], subjects)


def recommend(findings: Findings) -> Recommendation:
    """Ask every rule in order; the last always answers."""
    for rule in RULES:
        recommendation = rule(findings)
        if recommendation is not None:
            return recommendation
    raise AssertionError("the last rule always answers")


def _peers(
    layer: Layer, layers: Sequence[Layer], by_layer: dict[str | None, dict[str, Estimate]]
) -> tuple[Estimates, ...]:
    family = _FAMILIES.get(layer.kind, layer.kind)
    return tuple(by_layer[x.name] for x in layers if _FAMILIES.get(x.kind, x.kind) == family)


__all__ = ["RULES", "Diagnosis", "Findings", "Rule", "diagnose", "recommend", "recommend_all"]
