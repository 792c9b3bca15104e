"""One subject's estimates in, one recommendation out. The first rule that speaks wins."""

from collections.abc import Sequence

from gnoise.records import Estimate, Kind, Layer, Recommendation
from gnoise.rules import heavy_entries, loud_examples, noisy_layer, none_needed, norm_spikes, quiet_examples
from gnoise.rules.rule import Estimates, Findings, Rule

RULES: tuple[Rule, ...] = (
    loud_examples.recommend,
    heavy_entries.recommend,  # before spikes: heavy entries make norms spike, not the other way round
    norm_spikes.recommend,
    quiet_examples.recommend,
    noisy_layer.recommend,
    none_needed.recommend,
)

_FAMILIES = {Kind.ATTENTION: "hidden", Kind.MLP: "hidden", Kind.CONV: "hidden", Kind.OTHER: "hidden"}


def recommend_all(layers: Sequence[Layer], estimates: Sequence[Estimate]) -> list[Recommendation]:
    """Give the model and every layer one recommendation each, ``none`` included.

    Args:
        layers: in the model's order.
        estimates: of the model (``layer`` is ``None``) and of the layers.
    """
    by_layer: dict[str | None, dict[str, Estimate]] = {None: {}} | {layer.name: {} for layer in layers}
    for estimate in estimates:
        by_layer[estimate.layer][estimate.quantity] = estimate
    subjects = [Findings(None, by_layer[None])]
    subjects += [Findings(layer, by_layer[layer.name], _peers(layer, layers, by_layer)) for layer in layers]
    return [recommend(findings) for findings in subjects]


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


__all__ = ["RULES", "Findings", "Rule", "recommend", "recommend_all"]
