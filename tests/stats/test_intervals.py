"""The intervals every statistic shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gnoise.records import Status
from gnoise.stats.intervals import (
    Interval,
    clip_interval,
    estimate_of,
    jackknife,
    jackknife_stderr,
    no_estimate,
    t_interval,
)


def _left_out_means(values: np.ndarray) -> np.ndarray:
    return (values.sum() - values) / (values.size - 1)


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 8)
    interval = jackknife(_left_out_means(values), float(values.mean()))
    low, high = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    assert interval.stderr == pytest.approx(stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.value == values.mean()


def test_jackknife_z_scores_follow_student() -> None:
    rng = np.random.default_rng(1)
    blocks = rng.normal(size=(2000, 8))
    z = np.array([row.mean() / jackknife_stderr(_left_out_means(row)) for row in blocks])
    assert stats.kstest(z, stats.t(7).cdf).pvalue > 0.01


def test_jackknife_covers_a_ratio() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        top, bottom = rng.normal(2.0, 0.4, 8), rng.normal(4.0, 0.4, 8)
        left_out = _left_out_means(top) / _left_out_means(bottom)
        interval = jackknife(left_out, float(top.mean() / bottom.mean()))
        covered += interval.low <= 0.5 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_equal_blocks_have_no_error() -> None:
    interval = jackknife(np.full(8, 0.25), 0.25)
    assert (interval.value, interval.stderr, interval.low, interval.high) == (0.25, 0.0, 0.25, 0.25)


def test_t_interval_widens_with_confidence_and_fewer_blocks() -> None:
    assert t_interval(0.0, 1.0, 7).high == pytest.approx(2.3646, abs=1e-4)
    assert t_interval(0.0, 1.0, 3).high == pytest.approx(3.1824, abs=1e-4)
    assert t_interval(0.0, 1.0, 7, confidence=0.99).low == pytest.approx(-3.4995, abs=1e-4)


@given(
    value=st.floats(-10, 10),
    stderr=st.floats(0, 10),
    low=st.floats(-5, 0),
    high=st.floats(0.1, 5),
)
def test_clipping_keeps_order_and_range(value: float, stderr: float, low: float, high: float) -> None:
    clipped = clip_interval(t_interval(value, stderr, 7), low, high)
    assert low <= clipped.low <= clipped.value <= clipped.high <= high
    assert clipped.stderr == stderr


def test_estimates_carry_what_they_were_given() -> None:
    found = estimate_of("head", "alpha_draws", Interval(1.5, 0.1, 1.3, 1.7), 8, "note")
    assert (found.value, found.low, found.high, found.stderr, found.n) == (1.5, 1.3, 1.7, 0.1, 8)
    assert (found.layer, found.quantity, found.status, found.note) == (
        "head",
        "alpha_draws",
        Status.OK,
        "note",
    )
    missing = no_estimate(None, "alpha_draws", Status.ALL_ZERO)
    assert (missing.value, missing.low, missing.high, missing.stderr) == (None, None, None, None)
    assert (missing.layer, missing.status, missing.n) == (None, Status.ALL_ZERO, 0)
