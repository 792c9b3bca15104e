"""What is said of a trial's curves: paired, in tokens, with intervals that hold."""

import numpy as np
import pytest

from gnoise.records import Status
from gnoise.stats.trial import LARGER, LONGER, NONE, best_rate, is_settled, judge_arm, judge_trial
from gnoise.trial_records import Trial, TrialCurve, TrialPlan, TrialState

_PLAN = TrialPlan(
    source="toy",
    references={},
    arms=(NONE, "clip", LONGER, LARGER),
    predicted={"clip": (1.02, 1.01, 1.03)},
    seeds=tuple(range(1, 13)),
    steps=100,
    batch_size=4,
    learning_rate=1e-3,
    multiples=(1.0,),
    evaluate_every=20,
    held_out_examples=64,
    optimizer={"name": "AdamW"},
    with_state=False,
    device="cpu",
    dtype="float32",
    budget=None,
    request={},
)


def curve(arm: str, seed: int, loss: float, status: Status = Status.OK, examples: int = 400) -> TrialCurve:
    return TrialCurve(arm, seed, 1e-3, (0, examples), (3.0, loss), 0, 10.0, status)


def trial_of(losses: dict[str, np.ndarray]) -> Trial:
    curves = [curve(arm, seed, float(x)) for arm, found in losses.items() for seed, x in enumerate(found, start=1)]
    return Trial(1, _PLAN, tuple(curves), TrialState.COMPLETE, "2026-01-01T00:00:00+00:00")


def simulated(rng: np.random.Generator, *, worth: float, seeds: int = 5, noise: float = 0.002) -> Trial:
    """Losses that fall by .02 with a tenth more steps; clip is worth a share ``worth`` more of them."""
    shared = rng.normal(2.0, 0.05, seeds)
    draws = {arm: shared + rng.normal(0.0, noise, seeds) for arm in (NONE, "clip", LONGER, LARGER)}
    draws["clip"] -= 0.2 * worth
    draws[LONGER] -= 0.02
    draws[LARGER] -= 0.08
    return trial_of(draws)


def test_a_difference_is_read_off_the_ruler() -> None:
    seeds = np.arange(5.0)
    none = 2.0 + 0.1 * seeds
    result = judge_arm(trial_of({NONE: none, "clip": none - 0.01, LONGER: none - 0.02, LARGER: none - 0.2}), "clip")
    assert result.status is Status.OK
    assert result.difference == pytest.approx(-0.01)
    assert (result.tokens_saved, result.low, result.high) == pytest.approx((0.05 / 1.05,) * 3)
    assert result.predicted == (1.02, 1.01, 1.03)


def test_a_larger_batch_pays_for_its_tokens() -> None:
    none = 2.0 + 0.1 * np.arange(5.0)
    result = judge_arm(trial_of({NONE: none, LONGER: none - 0.02, LARGER: none - 0.2}), LARGER)
    assert result.tokens_saved == pytest.approx(1.0 - 2.0 / 2.0)  # worth one more training, for twice the tokens


def test_equal_arms_differ_in_nothing() -> None:
    none = np.random.default_rng(0).normal(2.0, 0.05, 5)
    result = judge_arm(trial_of({NONE: none, "clip": none, LONGER: none - 0.02}), "clip")
    assert result.tokens_saved == result.low == result.high == 0.0


def test_intervals_hold_the_truth_and_nothing_is_nothing() -> None:
    rng, held, alarms, repeats = np.random.default_rng(1), 0, 0, 400
    for _ in range(repeats):
        worth = 0.05
        result = judge_arm(simulated(rng, worth=worth), "clip")
        assert result.low is not None
        assert result.high is not None
        held += result.low <= worth / (1.0 + worth) <= result.high
        nothing = judge_arm(simulated(rng, worth=0.0), "clip")
        assert nothing.low is not None
        assert nothing.high is not None
        alarms += nothing.low > 0.0 or nothing.high < 0.0
    assert 0.92 <= held / repeats <= 0.98
    assert alarms / repeats <= 0.08


def test_detectable_saving_is_detected_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    usual = np.median([judge_arm(simulated(rng, worth=0.0), "clip").detectable or 0.0 for _ in range(200)])
    worth = usual / (1.0 - usual)
    found = [judge_arm(simulated(rng, worth=worth), "clip") for _ in range(200)]
    assert 0.7 <= np.mean([x.low is not None and x.low > 0.0 for x in found]) <= 0.95


def test_no_ruler_no_tokens() -> None:
    rng = np.random.default_rng(3)
    none = rng.normal(2.0, 0.05, 5)
    result = judge_arm(trial_of({NONE: none, "clip": none - 0.01, LONGER: none + rng.normal(0.0, 0.01, 5)}), "clip")
    assert result.status is Status.NO_SCALE
    assert result.tokens_saved is None
    assert result.difference == pytest.approx(-0.01)


def test_one_seed_is_too_few_and_a_diverged_arm_says_so() -> None:
    none = np.array([2.0])
    assert judge_arm(trial_of({NONE: none, "clip": none, LONGER: none}), "clip").status is Status.TOO_FEW_SEEDS
    whole = simulated(np.random.default_rng(4), worth=0.0)
    broken = tuple(c if c.arm != "clip" else curve("clip", c.seed, 9.0, Status.DIVERGED) for c in whole.curves)
    result = judge_arm(Trial(1, _PLAN, broken, TrialState.COMPLETE, ""), "clip")
    assert result.status is Status.DIVERGED
    assert result.ended_early == 5
    assert result.tokens_saved is None


def test_a_sure_saving_and_a_sure_nothing_settle_a_trial_from_five_seeds_on() -> None:
    rng = np.random.default_rng(5)
    assert is_settled(simulated(rng, worth=0.5, noise=0.0005))
    assert is_settled(simulated(rng, worth=0.0, noise=0.00001))
    assert not is_settled(simulated(rng, worth=0.5, noise=0.0005, seeds=4))
    assert not is_settled(simulated(rng, worth=0.02, noise=0.01))


def test_results_come_in_the_plan_s_order_and_tuning_takes_the_lowest() -> None:
    trial = simulated(np.random.default_rng(6), worth=0.1)
    assert [result.arm for result in judge_trial(trial)] == [*_PLAN.arms]
    tried = [
        TrialCurve("tuning", 0, rate, (0, 400), (3.0, loss), 0, 1.0, status)
        for rate, loss, status in ((1e-3, 2.1, Status.OK), (2e-3, 2.0, Status.OK), (4e-3, 1.0, Status.DIVERGED))
    ]
    assert best_rate(tried) == 2e-3
