"""Changes between two runs: their intervals hold, and pairs make them shorter."""

import dataclasses

import numpy as np
import pytest

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.changes import adjusted, change_of, is_ratio, loss_change, paired_changes
from gnoise.stats.noise_scale import estimate_noise_scale
from gnoise.stats.statistic import Subject


def estimate(value: float | None, low: float | None, high: float | None, quantity: str = "alpha_draws") -> Estimate:
    status = Status.OK if value is not None else Status.TOO_FEW_DRAWS
    return Estimate("w", quantity, value, low, high, None, 8, status)


def norms(rng: np.random.Generator, shared: np.ndarray, scale: float) -> NormSample:
    """64 draws of 8 examples in 8 blocks: a mean gradient of size 1 and noise, part of it shared between runs."""
    own = rng.standard_normal(shared.shape)
    gradients = 0.1 + scale * (0.9 * shared + np.sqrt(1.0 - 0.81) * own)
    draws = gradients.mean(axis=1)
    return NormSample(
        np.square(gradients).sum(-1),
        np.square(draws).sum(-1),
        np.square(draws.reshape(8, 8, -1).mean(1)).sum(-1),
        np.full((64, 8), 1.0 / 8.0),
    )


def test_a_difference_combines_both_intervals() -> None:
    change = change_of(estimate(1.9, 1.8, 1.95), estimate(1.5, 1.3, 1.6))
    assert change.change == pytest.approx(-0.4)
    assert change.low == pytest.approx(-0.4 - np.hypot(0.2, 0.05))
    assert change.high == pytest.approx(-0.4 + np.hypot(0.1, 0.1))
    assert change.p_value is not None
    assert change.p_value < 1e-4


def test_scales_change_by_ratios_and_open_ends_stay_open() -> None:
    assert is_ratio("b_simple")
    assert not any(is_ratio(name) for name in ("alpha_draws", "averaging_slope", "clip_rate"))
    change = change_of(estimate(10.0, 5.0, None, "b_simple"), estimate(40.0, 20.0, 80.0, "b_simple"))
    assert change.change == pytest.approx(4.0)
    assert change.low is None
    assert change.high == pytest.approx(4.0 * 2.0 ** np.sqrt(2.0))
    assert change.p_value is None


def test_no_number_on_one_side_is_no_change_with_that_status() -> None:
    change = change_of(estimate(None, None, None), estimate(1.5, 1.3, 1.6))
    assert (change.change, change.status) == (None, Status.TOO_FEW_DRAWS)


def test_intervals_of_independent_estimates_hold() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        first, second = rng.normal(1.0, 0.1), rng.normal(1.3, 0.05)
        change = change_of(
            estimate(first, first - 0.196, first + 0.196), estimate(second, second - 0.098, second + 0.098)
        )
        assert change.low is not None
        assert change.high is not None
        held += change.low <= 0.3 <= change.high
    assert 0.935 <= held / 2000 <= 0.965


def test_pairs_hold_the_truth_and_are_shorter() -> None:
    rng, held, lengths = np.random.default_rng(1), 0, []
    truth = 1.5**2
    for _ in range(200):
        shared = rng.standard_normal((64, 8, 100))
        samples = [norms(rng, shared, scale) for scale in (1.0, 1.5)]
        found = [{each.quantity: each for each in estimate_noise_scale(Subject(None), sample)} for sample in samples]
        pairs = [(found[0][name], found[1][name]) for name in ("trace_cov", "b_simple")]
        trace, _ = paired_changes(samples[0], samples[1], pairs)
        apart = change_of(*pairs[0])
        assert trace.paired
        assert None not in (trace.low, trace.high, apart.low, apart.high)
        held += trace.low <= truth <= trace.high
        lengths.append(np.log(trace.high / trace.low) / np.log(apart.high / apart.low))
    assert 0.9 <= held / 200 <= 0.99
    assert np.median(lengths) < 0.7


def test_losses_are_compared_draw_by_draw() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(3.0, 0.5, (64, 8))
    change = loss_change(first, first - 0.1 + rng.normal(0.0, 0.01, first.shape))
    assert change.change == pytest.approx(-0.1, abs=0.005)
    assert change.low is not None
    assert change.high is not None
    assert change.high - change.low < 0.005


def test_many_equal_layers_give_few_false_changes() -> None:
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(100):
        changes = []
        for layer in range(50):
            a, b = rng.normal(1.0, 0.1, 2)
            pair = [estimate(x, x - 0.196, x + 0.196) for x in (a, b)]
            changes.append(change_of(*(dataclasses.replace(each, layer=str(layer)) for each in pair)))
        alarms += any(change.is_sure for change in adjusted(changes))
    assert alarms <= 12
