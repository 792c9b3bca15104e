"""Steps against examples: the curve's own laws, and the table and chart made of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.charts.batch_cost import batch_cost, batch_table
from gnoise.records import Status
from gnoise.stats.batch_cost import (
    ADAM_POWER,
    SGD_POWER,
    examples_ratio,
    lr_multiplier,
    noise_share,
    purchases,
    steps_ratio,
)
from tests.charts.records import INFO, known, unknown

SCALE = known(None, "b_simple", 64.0, 48.0, 96.0)
sizes = st.floats(0.1, 1e5)


@given(scale=sizes, present=sizes, batch=sizes)
def test_steps_and_examples_lie_on_the_hyperbola(scale: float, present: float, batch: float) -> None:
    share = noise_share(scale, present)
    steps = steps_ratio(share, present, batch) * (1.0 + scale / present)
    examples = examples_ratio(share, present, batch) * (1.0 + present / scale)
    assert (steps - 1.0) * (examples - 1.0) == pytest.approx(1.0, rel=1e-6)
    assert examples_ratio(share, present, batch) == pytest.approx(
        steps_ratio(share, present, batch) * batch / present, rel=1e-9
    )


def test_learning_rates_follow_the_plain_rules_far_below_the_noise_scale_and_stop_above() -> None:
    noisy, quiet = noise_share(1e9, 16.0), noise_share(1e-9, 16.0)
    assert lr_multiplier(noisy, 16.0, 64.0, SGD_POWER) == pytest.approx(4.0)
    assert lr_multiplier(noisy, 16.0, 64.0, ADAM_POWER) == pytest.approx(2.0)
    assert lr_multiplier(quiet, 16.0, 64.0, SGD_POWER) == pytest.approx(1.0)


def test_by_hand_at_a_batch_equal_to_the_noise_scale() -> None:
    (doubled,) = purchases(known(None, "b_simple", 64.0, 64.0, 64.0), 64.0, [128.0])
    assert doubled.steps.value == doubled.steps.low == doubled.steps.high == 0.75
    assert doubled.examples.value == 1.5
    assert doubled.lr_sgd.value == pytest.approx(4.0 / 3.0)
    assert doubled.lr_adam.value == pytest.approx((4.0 / 3.0) ** 0.5)


@given(batch=st.floats(1.0, 1e4))
def test_ends_hold_the_value(batch: float) -> None:
    (each,) = purchases(SCALE, 32.0, [batch])
    for found in (each.steps, each.examples, each.lr_sgd, each.lr_adam):
        assert found.low <= (found.value or 0.0) <= found.high


def test_an_open_end_reaches_all_the_way() -> None:
    (each,) = purchases(known(None, "b_simple", 64.0, 48.0, None), 32.0, [64.0])
    assert each.steps.low == 0.5  # all noise: twice the batch, half the steps
    (each,) = purchases(unknown(None, "b_simple", Status.NO_SIGNAL), 32.0, [64.0])
    assert (each.steps.value, each.steps.low, each.steps.high) == (None, 0.5, 1.0)


def test_chart_marks_the_present_batch_and_says_what_doubling_takes() -> None:
    chart = batch_cost(INFO, SCALE)
    assert "At 32.0 sequences (batch in training) 67% of a step's squared gradient is noise" in chart.finding
    assert "twice the batch takes 0.67 (0.62 to 0.70) times the steps" in chart.finding
    marks = chart.figure.data[-1]
    assert marks.text[1] == "now"
    assert (marks.x[1], marks.y[1]) == (1.0, 1.0)
    assert len(chart.figure.data) == 4  # two ends, the curve, the marks
    now = chart.table.iloc[(chart.table["batch"] - 32.0).abs().argmin()]
    assert now["steps, times now"] == pytest.approx(1.0)
    assert now["sequences in all, high"] == pytest.approx(1.0)


def test_table_has_a_row_a_batch_and_tokens() -> None:
    table = batch_table(INFO, SCALE)
    assert list(table["batch"]) == ["0.5 × now", "1 × now", "2 × now", "4 × now", "8 × now"]
    assert table["tokens"][1] == "2,048"
    assert table["steps"][1] == "1.00"
    assert "tokens" not in batch_table(replace(INFO, tokens_per_example=None, example="image"), SCALE)


def test_without_a_number_the_reason_stands() -> None:
    chart = batch_cost(INFO, unknown(None, "b_simple", Status.NO_SIGNAL))
    assert Status.NO_SIGNAL.advice in chart.finding
    assert not chart.figure.data


def test_without_a_batch_in_training_the_draws_stand_in() -> None:
    assert "At 4.00 sequences (batch of a draw" in batch_cost(replace(INFO, optimizer={}), SCALE).finding
