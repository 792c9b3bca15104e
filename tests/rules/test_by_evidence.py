"""Gains make recommendations: what surely pays is given with all there is to say about it, anything else is not."""

from dataclasses import replace

import pytest

from gnoise.records import Estimate, Evidence, EvidenceRole, Kind, Layer, Remedy, Severity, Status, Verdict
from gnoise.rules import Findings, recommend, recommend_all

LAYER = Layer("h.0.mlp.weight", Kind.MLP, (64, 32), 0)
OTHER = Layer("h.1.mlp.weight", Kind.MLP, (64, 32), 1)


def gain(remedy: str, value: float | None, low: float | None = None, high: float | None = None, *,
         role: EvidenceRole = EvidenceRole.REMEDY, layer: str | None = LAYER.name, status: Status = Status.OK,
         q_value: float = 1e-4) -> Evidence:  # fmt: skip
    if value is not None:
        low, high = value - 0.05 if low is None else low, value + 0.05 if high is None else high
    params = {"coordinates": 2.0} if remedy == "clip" else {remedy: 1.5}
    return Evidence(
        layer, remedy, "its setting", params, role, value, low, high, 1.0, 1.6, 1.5, 1.7, q_value, 64, status,
        None if layer is None else q_value, *(None if x is None else 1.0 - 1.0 / x for x in (value, low, high)),
    )  # fmt: skip


def ladder(best: Evidence, *others: Evidence) -> tuple[Evidence, ...]:
    anchor = gain("batch", 1.3, role=EvidenceRole.SETTING, layer=best.layer)
    return (replace(best, role=EvidenceRole.BEST), best, *others, replace(anchor, setting="× 2", params={"times": 2.0}))


def findings(*evidence: Evidence, layer: Layer | None = LAYER, slope: float = -0.5) -> Findings:
    name = None if layer is None else layer.name
    own = {
        quantity: Estimate(name, quantity, value, value, value, None, 64, Status.OK)
        for quantity, value in (("averaging_slope", slope), ("spike_ratio", 9.0), ("alpha_draws", 1.5))
    }
    rows = Verdict(name, "localization", "rows", "bulk", 3.0, 0.001, 32, Status.OK, "row 3 'the'", 0.002)
    return Findings(layer, own, (), {"localization": rows}, evidence)


def test_what_surely_pays_is_recommended_with_all_there_is_to_say() -> None:
    answer = recommend(findings(*ladder(gain("clip_norm", 1.3), gain("clip", 1.1), gain("stabilize", 0.9))))
    assert (answer.remedy, answer.params, answer.status) == (Remedy.CLIP_NORM, {"clip_norm": 1.5}, Status.OK)
    assert (answer.gain, answer.gain_low, answer.gain_high) == (1.3, 1.25, 1.35)
    assert answer.severity is Severity.WARNING
    for words in ("clip_norm (its setting)", "1.30 times", "1.25 to 1.35", "a batch 1.6 times", "9.0 times the median"):
        assert words in answer.reason
    assert "row 3 'the'" in answer.reason
    assert [line.split(" (")[0] for line in answer.alternatives] == ["clip", "stabilize", "a batch × 2: 1.30"]
    assert "helps less" in answer.alternatives[0]
    assert "harms" in answer.alternatives[1]
    assert "64 draws" in answer.unless
    assert {each.quantity for each in answer.because} >= {"spike_ratio", "averaging_slope"}


def test_gains_say_under_which_other_optimizer_they_were_judged() -> None:
    words = "judged under Muon (momentum 0.95)"
    for value in (1.3, 1.0):
        found = findings(*ladder(gain("clip_norm", value)))
        own, other = recommend(found), recommend(replace(found, under=words.removeprefix("judged ")))
        assert words in other.reason
        assert words in other.unless
        assert "judged" not in own.reason + own.unless


def test_severity_follows_the_surest_gain() -> None:
    assert recommend(findings(*ladder(gain("clip", 1.7)))).severity is Severity.CRITICAL
    assert recommend(findings(*ladder(gain("clip", 1.7, 1.3)))).severity is Severity.WARNING


@pytest.mark.parametrize(
    "best",
    [gain("clip", 1.30, 0.99), gain("clip", 1.01, 1.005, 1.015), gain("clip", 1.30, 1.10, q_value=0.2)],
    ids=["unsure", "sure and small", "one of many"],
)
def test_what_does_not_surely_pay_is_not_recommended(best: Evidence) -> None:
    answer = recommend(findings(*ladder(best, gain("stabilize", 0.9))))
    assert (answer.remedy, answer.status, answer.gain_low) == (Remedy.NONE, Status.OK, None)
    assert "averaging suffices" in answer.reason
    assert "the best, clip" in answer.reason
    assert answer.alternatives
    assert answer.unless


def test_gains_say_more_than_thresholds() -> None:
    """Loud draws and a heavy tail ask for nothing where remedies were judged and none helps."""
    heavy = findings(*ladder(gain("clip", 1.0)), slope=-0.1)
    assert recommend(heavy).remedy is Remedy.NONE
    unjudged = replace(heavy, evidence=())
    assert recommend(unjudged).remedy is Remedy.STABILIZE


@pytest.mark.parametrize("status", [Status.TOO_FEW_DRAWS, Status.ALL_ZERO, Status.NON_FINITE, Status.ONE_EXAMPLE])
def test_what_cannot_be_judged_has_a_status_whatever_else_is_there(status: Status) -> None:
    nothing = gain("none", None, role=EvidenceRole.BEST, status=status)
    answer = recommend(findings(nothing, slope=-0.1))
    assert (answer.remedy, answer.status, answer.gain) == (Remedy.NONE, status, None)
    assert status.advice in answer.reason


def test_a_layer_of_a_few_entries_gets_no_remedy_of_its_own() -> None:
    answer = recommend(findings(*ladder(gain("clip", 1.7)), layer=replace(LAYER, shape=(4,))))
    assert answer.remedy is Remedy.NONE


def test_a_layer_leaves_it_to_the_model_where_that_does_as_much() -> None:
    model = [replace(each, layer=None, q_value=None) for each in ladder(gain("clip_global_norm", 1.4, layer=None))]
    covered = gain("clip_global_norm", 1.37, role=EvidenceRole.SETTING)
    same = ladder(gain("clip_norm", 1.4), covered)
    more = tuple(replace(each, layer=OTHER.name) for each in ladder(gain("clip", 2.0), covered))
    answers = {answer.layer: answer for answer in recommend_all([LAYER, OTHER], [], [], [*model, *same, *more])}
    assert answers[None].remedy is Remedy.CLIP_GLOBAL_NORM
    assert answers[LAYER.name].remedy is Remedy.NONE
    assert "for the whole model" in answers[LAYER.name].reason
    assert answers[OTHER.name].remedy is Remedy.CLIP


def rate(value: float, low: float | None = None) -> Evidence:
    return replace(gain("layerwise_lr", value, low), params={"lr_multiplier": 0.25}, setting="rate × 0.25")


def test_a_smaller_rate_is_given_where_it_surely_buys_the_model_something() -> None:
    nothing = gain("clip", 1.0)
    answer = recommend(findings(*ladder(nothing), rate(1.2)))
    assert (answer.remedy, answer.params, answer.gain) == (Remedy.LAYERWISE_LR, {"lr_multiplier": 0.25}, 1.2)
    assert "a learning rate 0.25 times as large would have bought the whole model 1.20 times" in answer.reason
    assert [line.split(" (")[0] for line in answer.alternatives] == ["clip", "a batch × 2: 1.30"]
    assert recommend(findings(*ladder(nothing), rate(1.2, 1.01))).remedy is Remedy.NONE


def test_a_layers_own_remedy_goes_before_its_rate() -> None:
    answer = recommend(findings(*ladder(gain("clip", 1.2)), rate(1.4)))
    assert answer.remedy is Remedy.CLIP
    assert any(line.startswith("layerwise_lr (rate × 0.25): 1.40") and "helps" in line for line in answer.alternatives)


def test_a_noise_scale_alone_is_no_reason_once_rates_are_judged() -> None:
    """The same layer, twelve times as noisy as its kind, whose smaller rate is known to buy nothing."""

    def scale(value: float) -> dict[str, Estimate]:
        return {"b_simple": Estimate(LAYER.name, "b_simple", value, value, value, None, 64, Status.OK)}

    noisy = replace(findings(), own=scale(120.0), peers=(scale(10.0),) * 4, verdicts={})
    assert recommend(noisy).remedy is Remedy.LAYERWISE_LR
    assert recommend(replace(noisy, evidence=(*ladder(gain("clip", 1.0)), rate(0.99)))).remedy is Remedy.NONE


def test_a_layer_keeps_its_own_remedy_where_the_models_buys_it_less() -> None:
    def answers(in_layer: float) -> Remedy:
        of_model = ladder(gain("clip", 1.2, layer=None))
        here = replace(gain("clip", in_layer, in_layer - 0.4, in_layer + 0.4), role=EvidenceRole.SETTING)
        given = recommend_all([LAYER], [], (), (*of_model, *ladder(gain("clip_norm", 2.0, 1.7)), here))
        return given[1].remedy

    assert answers(1.4) is Remedy.CLIP_NORM
    assert answers(1.8) is Remedy.NONE


def test_a_gain_without_an_upper_end_is_said_as_a_bound() -> None:
    bound = replace(gain("clip", 1.7), high=None, status=Status.AT_LEAST, tokens_saved_high=None)
    rival = replace(gain("stabilize", 1.2, 1.1), high=None, status=Status.AT_LEAST)
    answer = recommend(findings(*ladder(bound, rival)))
    assert (answer.remedy, answer.gain_low, answer.gain_high) == (Remedy.CLIP, 1.65, None)
    assert "no remedy (at least 1.65)" in answer.reason
    assert "tokens saved (at least +39%" in answer.reason
    assert (
        answer.alternatives[0] == "stabilize (its setting): 1.20 (at least 1.10), not surely worse than the one above"
    )
    unsure = recommend(findings(*ladder(replace(bound, low=0.9))))
    assert "no remedy surely matters: the best, clip, would buy 1.70 times as much (at least 0.90)" in unsure.reason


def test_the_whole_models_card_names_what_comes_nearest_to_paying_be_it_rates() -> None:
    rates = gain("layerwise_lr", 1.01, 1.0, 1.015, layer=None)
    answer = recommend(findings(*ladder(gain("clip", 1.001, 0.99, 1.01, layer=None), rates), layer=None))
    assert answer.remedy is Remedy.NONE
    assert "the best, layerwise_lr, would buy 1.01 times" in answer.reason
    own = recommend(findings(*ladder(gain("clip", 1.001, 0.99, 1.01)), replace(rates, layer=LAYER.name)))
    assert "the best, clip, would buy" in own.reason
