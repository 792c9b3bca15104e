"""A trial in words, rows and one picture."""

import dataclasses

import numpy as np
import pytest

from gnoise.charts.trial import trial_about, trial_curves, trial_line, trial_sentence, trial_sentences, trial_table
from gnoise.records import Status
from gnoise.stats.trial import judge_arm
from gnoise.trial_records import TrialState
from tests.stats.test_trial import curve, simulated


def test_sentences_say_which_way_and_how_sure() -> None:
    rng = np.random.default_rng(0)
    assert trial_sentence(judge_arm(simulated(rng, worth=0.5, noise=1e-4), "clip")).startswith("clip saves 33.")
    costly = judge_arm(simulated(rng, worth=-0.2, noise=1e-4), "clip")
    assert costly.tokens_saved == pytest.approx(-0.25, abs=0.02)
    assert costly.low is not None
    assert costly.high is not None
    assert f"costs {-costly.tokens_saved:.1%} more tokens" in trial_sentence(costly)
    assert f"95% interval {-costly.high:.1%} to {-costly.low:.1%}" in trial_sentence(costly)
    assert "costs over 100% more tokens" in trial_sentence(judge_arm(simulated(rng, worth=-0.6, noise=1e-4), "clip"))
    unsure = trial_sentence(judge_arm(simulated(rng, worth=0.0), "clip"))
    assert "no difference detected" in unsure
    assert "it could have seen" in unsure
    same = simulated(rng, worth=0.0)
    none = [curve for curve in same.curves if curve.arm == "none"]
    kept = [curve for curve in same.curves if curve.arm != "clip"]
    same = dataclasses.replace(same, curves=(*kept, *(dataclasses.replace(curve, arm="clip") for curve in none)))
    assert trial_sentence(judge_arm(same, "clip")) == "clip: the same training as without remedy, to the last digit."
    assert next(row for row in trial_table(same) if row[0] == "clip")[3] == "+0.0000 (+0.0000 to +0.0000)"
    few = trial_sentence(judge_arm(simulated(rng, worth=0.0, seeds=1), "clip"))
    assert few == f"clip: no saving to report: {Status.TOO_FEW_SEEDS.advice}."


def test_no_remedy_is_said_before_the_anchor() -> None:
    trial = simulated(np.random.default_rng(1), worth=0.0)
    arms = tuple(arm for arm in trial.plan.arms if arm != "clip")
    first, second = trial_sentences(dataclasses.replace(trial, plan=dataclasses.replace(trial.plan, arms=arms)))
    assert first.startswith("No remedy was tried")
    assert second.startswith("no remedy, twice the batch")


def test_rows_hold_every_arm_with_prediction_beside_measurement() -> None:
    trial = simulated(np.random.default_rng(2), worth=0.1)
    rows = {row[0]: row for row in trial_table(trial)}
    assert list(rows) == ["no remedy", "clip", "no remedy, 10% more steps", "no remedy, twice the batch"]
    assert rows["clip"][5] == "×1.020 (1.010 to 1.030)"
    assert rows["no remedy"][3:5] == ("–", "–")


def test_curves_end_at_the_reported_difference() -> None:
    trial = simulated(np.random.default_rng(3), worth=0.1)
    chart = trial_curves(trial)
    last = chart.table[chart.table["arm"] == "clip"].iloc[-1]
    result = judge_arm(trial, "clip")
    assert (last["difference"], last["low"], last["high"]) == pytest.approx(
        (result.difference, result.difference_low, result.difference_high)
    )
    assert f"clip {result.difference:+.4f}" in chart.finding


def test_an_unfinished_trial_draws_nothing_and_says_so() -> None:
    trial = dataclasses.replace(simulated(np.random.default_rng(4), worth=0.1), curves=(), state=TrialState.RUNNING)
    chart = trial_curves(trial)
    assert chart.table.empty
    assert chart.finding == "No pair has ended yet."
    assert "not tuned yet" in trial_about(trial)
    with_state = dataclasses.replace(trial.plan, optimizer={"name": "Muon"}, with_state=True)
    assert "Muon with the checkpoint's state" in trial_about(dataclasses.replace(trial, plan=with_state))


def test_lines_name_the_difference_and_what_went_wrong() -> None:
    trial = simulated(np.random.default_rng(5), worth=0.1)
    one = next(c for c in trial.curves if c.arm == "clip")
    assert "beside no remedy" in trial_line(trial, one)
    assert Status.DIVERGED.advice in trial_line(trial, curve("clip", 1, 9.0, Status.DIVERGED))
