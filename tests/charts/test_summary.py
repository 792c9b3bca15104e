import dataclasses

import pytest

from gnoise.charts.phrases import compact, interval, number, plural, sentence, short
from gnoise.charts.summary import summary
from gnoise.records import Estimate, Kind, Layer, RunInfo, Status
from gnoise.rules import recommend_all

LAYERS = [Layer(f"h.{depth}.mlp.weight", Kind.MLP, (8, 8), depth) for depth in range(3)]
INFO = RunInfo(
    model="m", source="m.pt", checkpoint_sha256="", data="d", example="sequence", tokens_per_example=128,
    loss_reduction="mean", draws=64, examples_per_draw=16, dtype="float32", training_mode=True, seed=0, device="cpu",
    world_size=1, parameters=192, versions={}, command="", created="",
    optimizer={"batch_size": 8, "gradient_accumulation_steps": 2, "clip_global_norm": 1.0},
)  # fmt: skip


def number_of(
    quantity: str, value: float | None, low: float | None, high: float | None, *,
    layer: str | None = None, status: Status = Status.OK, note: str = "",
) -> Estimate:  # fmt: skip
    return Estimate(layer, quantity, value, low, high, None, 8, status, note)


def healthy(slope: float = -0.5) -> list[Estimate]:
    estimates = [number_of("b_simple", 412.0, 380.0, 455.0), number_of("spike_ratio", 1.2, 1.1, 1.4)]
    for layer in LAYERS:
        estimates += [
            number_of("averaging_slope", slope, slope - 0.02, slope + 0.02, layer=layer.name),
            number_of("alpha_entries", 1.3, 1.2, 1.4, layer=layer.name),
            number_of("alpha_draws", 1.98, 1.95, 2.0, layer=layer.name),
        ]
    return estimates


def say(estimates: list[Estimate], info: RunInfo = INFO):
    return summary(info, estimates, [], recommend_all(LAYERS, estimates), run="r.gnoise")


def test_a_healthy_run_says_none_with_its_numbers() -> None:
    said = say(healthy())
    assert said.headline == (
        "No remedy indicated. Averaging narrows the noise about as it does Gaussian noise in 3 of 3 layers judged. "
        "Noise scale 412 sequences (95% interval 380 to 455), against a batch of 16 in training."
    )
    assert "noise scale (B_simple): 412 sequences = 52,736 tokens, 95% interval 380 to 455" in said.why
    assert any("buys progress per step" in line and "not the measured critical batch" in line for line in said.next)
    assert said.next[-1].startswith("gnoise app r.gnoise")


def test_loud_examples_come_first_and_are_named() -> None:
    loud = number_of("example_spike_ratio", 8.0, 5.1, 15.1, note="example 1851 (loss 3.84)")
    said = say([*healthy(), loud, number_of("loud_example_share", 0.02, 0.012, 0.03)])
    assert said.headline.startswith("A few sequences have gradients up to 8.0 times the median")
    assert "example 1851 (loss 3.84)" in said.why[0]


def test_quiet_examples_are_a_finding() -> None:
    said = say([*healthy(), number_of("quiet_example_share", 0.014, 0.008, 0.023, note="example 5 (loss 4.50)")])
    assert said.headline.startswith("1.4% of the sequences teach next to nothing")
    assert not any("teach next to nothing:" in line for line in said.why)  # said once, in the finding


def test_layers_that_ask_for_a_remedy_are_counted() -> None:
    heavy = [
        number_of("averaging_slope", -0.1, -0.15, -0.05, layer=LAYERS[0].name),
        number_of("alpha_averaging", 1.1, 1.05, 1.2, layer=LAYERS[0].name),
        number_of("alpha_draws", 1.1, 1.0, 1.2, layer=LAYERS[0].name),
        number_of("gamma_entries", 0.02, 0.01, 0.03, layer=LAYERS[0].name),
    ]
    rest = [e for e in healthy() if e.layer != LAYERS[0].name]
    said = say([*rest, *heavy])
    assert said.headline.startswith("1 of 3 layers asks for a remedy (shrink); the rest need none.")
    assert any(line.startswith("h.0.mlp.weight: shrink, because averaging k draws") for line in said.why)
    assert any(line.startswith("gnoise export") for line in said.next)


def test_no_signal_is_said_and_how_to_settle_it() -> None:
    unknown = [e for e in healthy() if e.quantity != "b_simple"]
    said = say([*unknown, number_of("b_simple", None, 900.0, None, status=Status.NO_SIGNAL)])
    assert "Noise scale unknown: the mean gradient cannot be told from noise" in said.headline
    assert any("at least 900 (95%)" in line for line in said.why)
    assert "gnoise profile m.pt --draws 256   # narrows the noise scale" in said.next


def test_a_clip_threshold_that_always_fires_is_pointed_out() -> None:
    said = say([*healthy(), number_of("clip_rate", 1.0, 0.94, 1.0, note="threshold 1, 16 examples a draw")])
    assert any("100.0%, 95% interval 94.0% to 100.0%" in line for line in said.why)
    assert any("cuts most draws" in line for line in said.next)


def test_nothing_analysed_yet() -> None:
    assert summary(INFO, [], [], [], run="r.gnoise").next == ("gnoise analyze r.gnoise",)
    assert summary(INFO, [], [], [], run="my $x.gnoise").next == ("gnoise analyze 'my $x.gnoise'",)


def test_the_batch_in_training_counts_accumulation_and_may_be_unknown() -> None:
    assert INFO.training_batch == 16
    assert dataclasses.replace(INFO, optimizer={}).training_batch is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (412.4, "412"),
        (9373.7, "9,374"),
        (0.0123, "0.0123"),
        (1.5, "1.50"),
        (3e-9, "3.00e-09"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_an_estimate_is_never_bare() -> None:
    whole = number_of("b_simple", 73.0, 70.0, 85.0)
    assert sentence(whole, unit="rows") == "noise scale (B_simple): 73.0 rows, 95% interval 70.0 to 85.0"
    assert compact(whole) == "73.0 ±12"
    open_end = number_of("b_simple", 73.0, 70.0, None, status=Status.ONE_SIDED)
    assert interval(open_end) == "at least 70.0 (95%)"
    assert short(open_end) == compact(open_end) == "73.0 (≥ 70.0)"
    missing = number_of("b_simple", None, None, None, status=Status.ALL_ZERO)
    assert Status.ALL_ZERO.advice in sentence(missing)
    assert short(missing) == short(None) == "–"
    assert short(number_of("averaging_slope", -0.001, -0.1, 0.1), signed=True).startswith("+0.00")


def test_plurals() -> None:
    assert (plural("sequence"), plural("examples")) == ("sequences", "examples")
