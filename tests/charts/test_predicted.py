"""Predicted against measured: one mark an arm, where the trial put it."""

import dataclasses

import numpy as np
import pytest

from gnoise.charts.predicted import predicted_against_measured
from gnoise.stats.trial import LARGER
from tests.stats.test_trial import simulated


def test_an_arm_stands_where_prediction_and_trial_put_it() -> None:
    chart = predicted_against_measured(simulated(np.random.default_rng(0), worth=0.5, noise=1e-5))
    (row,) = chart.table.to_dict("records")
    assert row["arm"] == "clip"
    assert (row["predicted"], row["predicted low"], row["predicted high"]) == (1.02, 1.01, 1.03)
    assert row["measured"] == pytest.approx(1.5, abs=0.01)
    assert row["measured low"] < row["measured"] < row["measured high"]
    assert "clip ×1.020 and ×1.50" in chart.finding
    line, marks = chart.figure.data
    assert line.x == line.y
    assert marks.y[0] == row["measured"]


def test_twice_the_batch_is_counted_in_steps_not_in_tokens() -> None:
    trial = simulated(np.random.default_rng(1), worth=0.1, noise=1e-5)
    plan = dataclasses.replace(trial.plan, predicted={LARGER: (1.3, 1.2, 1.4)})
    chart = predicted_against_measured(dataclasses.replace(trial, plan=plan))
    assert chart.table["measured"][0] == pytest.approx(1.4, abs=0.01)


def test_a_trial_without_predictions_or_curves_draws_nothing() -> None:
    trial = simulated(np.random.default_rng(2), worth=0.1)
    for empty in (
        dataclasses.replace(trial, curves=()),
        dataclasses.replace(trial, plan=dataclasses.replace(trial.plan, predicted={})),
    ):
        chart = predicted_against_measured(empty)
        assert not chart.figure.data
        assert chart.table.empty
        assert chart.finding == "No arm has both a prediction and a measured saving yet."
