import pytest

from gnoise.records import Estimate, Kind, Layer, Remedy, Severity, Status
from gnoise.rules import RULES, Findings, recommend, recommend_all

MATRIX = Layer("h.0.mlp.weight", Kind.MLP, (64, 32), 0)
EMBEDDING = Layer("wte.weight", Kind.EMBEDDING, (64, 32))
BIAS = Layer("h.0.mlp.bias", Kind.BIAS, (64,), 0)


def number(
    quantity: str, value: float | None, low: float | None = None, high: float | None = None, *,
    layer: str | None = MATRIX.name, status: Status = Status.OK, note: str = "",
) -> Estimate:  # fmt: skip
    low = value if low is None else low
    high = value if high is None else high
    return Estimate(layer, quantity, value, low, high, None, 64, status, note)


def findings(*estimates: Estimate, layer: Layer | None = MATRIX, peers=()) -> Findings:
    return Findings(layer, {e.quantity: e for e in estimates}, peers)


GAUSSIAN = (
    number("averaging_slope", -0.5, -0.53, -0.47),
    number("alpha_averaging", 2.0, 1.9, 2.0),
    number("alpha_draws", 1.98, 1.95, 2.0),
    number("spike_ratio", 1.3, 1.2, 1.5),
)
HEAVY = (
    number("averaging_slope", -0.1, -0.15, -0.05),
    number("alpha_averaging", 1.1, 1.05, 1.2),
    number("alpha_draws", 1.1, 1.0, 1.2),
    number("gamma_entries", 0.02),
)


def test_none_averaging_suffices_is_reachable() -> None:
    answer = recommend(findings(*GAUSSIAN))
    assert answer.remedy is Remedy.NONE
    assert answer.status is Status.OK
    assert "averaging suffices" in answer.reason
    assert {e.quantity for e in answer.because} >= {"averaging_slope", "alpha_draws"}


@pytest.mark.parametrize("pooled", [0.5, 1.0, 1.5])
def test_a_pooled_tail_index_alone_recommends_nothing(pooled: float) -> None:
    alone = recommend(findings(number("alpha_entries", pooled)))
    beside = recommend(findings(number("alpha_entries", pooled), *GAUSSIAN))
    assert alone.remedy is beside.remedy is Remedy.NONE
    assert alone.status is Status.TOO_FEW_DRAWS
    assert "averaging suffices" in beside.reason


@pytest.mark.parametrize(
    ("layer", "remedy", "params"),
    [
        (MATRIX, Remedy.SHRINK, {"form": "rational", "scale": pytest.approx(0.06)}),
        (EMBEDDING, Remedy.SHRINK, {"form": "saturating", "rows": True, "scale": pytest.approx(0.06)}),
        (BIAS, Remedy.CLIP, {"clip_value": pytest.approx(0.06)}),
    ],
)
def test_heavy_noise_that_survives_averaging(layer: Layer, remedy: Remedy, params: dict[str, object]) -> None:
    answer = recommend(findings(*HEAVY, layer=layer))
    assert answer.remedy is remedy
    assert answer.params == params


def test_loud_draws_are_not_taken_for_loud_entries() -> None:
    spikes = number("spike_ratio", 40.0, 20.0, 90.0)
    entries = recommend(findings(*HEAVY, spikes, number("max_entry_ratio", 0.8)))
    draws = recommend(findings(*HEAVY, spikes, number("max_entry_ratio", 0.15)))
    assert (entries.remedy, draws.remedy) == (Remedy.SHRINK, Remedy.STABILIZE)


@pytest.mark.parametrize(
    "replaced",
    [
        number("averaging_slope", -0.35, -0.45, -0.25),
        number("alpha_averaging", None, status=Status.NOT_CONSTANT_SLOPE),
        number("alpha_draws", 1.8, 1.7, 1.95),
        Estimate(MATRIX.name, "averaging_slope", -0.1, None, None, None, 64, Status.OK),
    ],
)
def test_one_view_alone_is_not_enough_for_an_entrywise_remedy(replaced: Estimate) -> None:
    answer = recommend(findings(*[replaced if e.quantity == replaced.quantity else e for e in HEAVY]))
    assert answer.remedy is Remedy.NONE


def test_norm_spikes_ask_for_the_stabilizer_and_calm_norms_do_not() -> None:
    loud = recommend(findings(*GAUSSIAN[:3], number("spike_ratio", 9.0, 5.0, 20.0)))
    assert loud.remedy is Remedy.STABILIZE
    unsure = recommend(findings(*GAUSSIAN[:3], number("spike_ratio", 9.0, 1.5, 50.0)))
    assert unsure.remedy is Remedy.NONE
    scalar = Layer("scale", Kind.OTHER, (1,))
    assert recommend(findings(number("spike_ratio", 9.0, 5.0, 20.0), layer=scalar)).remedy is Remedy.NONE


def test_a_spike_without_an_upper_end_is_still_a_spike() -> None:
    boundless = Estimate(MATRIX.name, "spike_ratio", 99.0, 4.0, None, None, 64, Status.ONE_SIDED)
    assert recommend(findings(boundless)).remedy is Remedy.STABILIZE
    alone = Estimate(None, "spike_ratio", 99.3, 1.2, None, None, 64, Status.ONE_SIDED)
    answer = recommend(findings(alone, layer=None))
    assert answer.remedy is Remedy.NONE
    assert "stands alone" in answer.reason


@pytest.mark.parametrize(("low", "high", "said"), [(-0.9, -0.05, "cannot be told"), (-0.1, 0.1, "averaging is slow")])
def test_averaging_suffices_is_not_said_of_a_point_estimate(low: float, high: float, said: str) -> None:
    answer = recommend(findings(number("averaging_slope", -0.46 if low < -0.5 else 0.0, low, high)))
    assert said in answer.reason


def test_loud_examples_are_named_for_the_model_only() -> None:
    loud = number("example_spike_ratio", 12.0, 8.0, 20.0, layer=None, note="example 1377 (loss 9.81)")
    apart = number("loud_example_share", 0.02, 0.012, 0.03, layer=None)
    answer = recommend(findings(loud, apart, number("spike_ratio", 1.4, layer=None), layer=None))
    assert (answer.scope, answer.layer, answer.remedy) == ("model", None, Remedy.STABILIZE)
    assert "example 1377 (loss 9.81)" in answer.reason
    assert recommend(findings(loud, apart, *GAUSSIAN)).remedy is Remedy.NONE
    merely_spread = number("loud_example_share", 0.0, 0.0, 0.004, layer=None)
    assert recommend(findings(loud, merely_spread, layer=None)).remedy is Remedy.NONE


def test_quiet_examples_are_a_warning_without_a_remedy() -> None:
    quiet = number("quiet_example_share", 0.014, 0.008, 0.023, layer=None, note="example 53 (loss 7.25)")
    answer = recommend(findings(quiet, number("spike_ratio", 1.2, layer=None), layer=None))
    assert (answer.remedy, answer.severity) == (Remedy.NONE, Severity.WARNING)
    assert "1.4% of the examples" in answer.reason
    assert "example 53 (loss 7.25)" in answer.reason
    chance = recommend(findings(number("quiet_example_share", 0.002, 0.0003, 0.007, layer=None), layer=None))
    assert chance.severity is Severity.INFO


def test_a_layer_far_noisier_than_its_kind_gets_a_smaller_rate() -> None:
    peers = tuple({"b_simple": number("b_simple", value)} for value in (90.0, 100.0, 110.0, 1600.0))
    answer = recommend(findings(*GAUSSIAN, number("b_simple", 1600.0, 1200.0, 2000.0), peers=peers))
    assert answer.remedy is Remedy.LAYERWISE_LR
    assert answer.params == {"lr_multiplier": 0.256}
    unsure = recommend(findings(*GAUSSIAN, number("b_simple", 1600.0, 500.0, 9000.0), peers=peers))
    assert unsure.remedy is Remedy.NONE
    few = recommend(findings(*GAUSSIAN, number("b_simple", 1600.0, 1200.0, 2000.0), peers=peers[1:]))
    assert few.remedy is Remedy.NONE


def test_too_few_draws_is_a_status_not_a_recommendation() -> None:
    answer = recommend(findings(number("averaging_slope", None, status=Status.TOO_FEW_DRAWS)))
    assert answer.remedy is Remedy.NONE
    assert answer.status is Status.TOO_FEW_DRAWS
    assert "--draws" in answer.reason


def test_everyone_gets_exactly_one_recommendation_model_first() -> None:
    estimates = [*HEAVY, number("averaging_slope", -0.5, layer=EMBEDDING.name)]
    answers = recommend_all([MATRIX, EMBEDDING, BIAS], estimates)
    assert [a.layer for a in answers] == [None, MATRIX.name, EMBEDDING.name, BIAS.name]
    assert [a.remedy for a in answers] == [Remedy.NONE, Remedy.SHRINK, Remedy.NONE, Remedy.NONE]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__)
def test_no_rule_raises_without_estimates(rule) -> None:
    for layer in (None, MATRIX):
        answer = rule(Findings(layer, {}))
        assert answer is None or (answer.remedy is Remedy.NONE and answer.status is not Status.OK)
