"""Gains come out as planted, whatever the scale; the ruler reads batches; what cannot be told has a status."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gnoise.records import CoordinateSample, Status
from gnoise.stats.evidence import (
    ARMS,
    Arm,
    Gain,
    Progress,
    Simulated,
    adam,
    add_progress,
    equivalent_batch,
    gains,
    measure_progress,
    sgd,
)
from gnoise.stats.evidence.progress import one_outweighs
from tests.stats.evidence.planted import planted

ENTRYWISE = ("clip", "shrink")
BY_NORM = ("clip_norm", "clip_global_norm", "stabilize")


def _progress(sample: CoordinateSample, optimizer: Simulated | None = None, arms: Sequence[Arm] = ARMS) -> Progress:
    found = measure_progress(sample, optimizer or adam(), arms)
    assert isinstance(found, Progress), found
    return found


def _gains(sample: CoordinateSample) -> dict[str, Gain]:
    return {found.remedy: found for found in gains(_progress(sample))}


def _value(found: Gain) -> float:
    assert found.gain is not None, found
    return found.gain.value


@pytest.mark.parametrize("cause", ["equal", "lognormal"])
def test_gaussian_noise_of_any_scales_needs_nothing(cause: str) -> None:
    for seed in range(2):
        for remedy, found in _gains(planted(cause, seed)).items():
            assert 0.96 < _value(found) < 1.04, (remedy, seed)


def test_cauchy_entries_want_an_entrywise_remedy() -> None:
    for seed in range(2):
        found = _gains(planted("cauchy", seed))
        for remedy in ENTRYWISE:
            interval = found[remedy].gain
            assert interval is not None
            assert 2.5 < interval.low < interval.high < 5.0, remedy
        assert all(_value(found[remedy]) < 1.05 for remedy in BY_NORM)


def test_a_signal_that_is_rare_and_large_is_not_taken_for_noise() -> None:
    for seed in range(2):
        found = _gains(planted("rare", seed))
        for remedy in ENTRYWISE:  # the median of block means, which sees none of it, would have them gain a half
            interval = found[remedy].gain
            assert interval is not None
            assert interval.value < 1.02, remedy
            assert interval.high < 1.2, remedy


def test_loud_examples_want_a_bound_on_the_norm() -> None:
    for seed in range(2):
        found = _gains(planted("loud", seed))
        best = max(found.values(), key=_value)
        assert best.remedy in BY_NORM
        assert best.gain is not None
        assert best.gain.low > 1.5
        assert min(_value(found[remedy]) for remedy in BY_NORM) > max(_value(found[remedy]) for remedy in ENTRYWISE)


def test_gains_do_not_know_the_unit() -> None:
    sample = planted("cauchy", 3, coords=500)
    larger = replace(
        sample,
        values=sample.values * np.float32(1024.0),
        draw_sq_norms=sample.draw_sq_norms * 1024.0**2,
        model_sq_norms=sample.model_sq_norms * 1024.0**2,
    )
    for one, other in zip(_gains(sample).values(), _gains(larger).values(), strict=True):
        assert _value(one) == pytest.approx(_value(other), rel=1e-5)


def test_a_remedy_that_does_nothing_gains_exactly_nothing() -> None:
    idle = Arm("idle", "", lambda g: g.values)
    (found,) = gains(_progress(planted("cauchy", 4, coords=300), arms=[idle]))
    assert found.gain is not None
    assert (found.gain.value, found.gain.low, found.gain.high) == (1.0, 1.0, 1.0)
    assert found.bias_floor == 1.0


def test_the_ruler_reads_batches_as_the_noise_scale_has_it() -> None:
    """For plain SGD a batch k times as large gains (1 + B/b) / (1 + B/kb)."""
    sample, ratio = planted("equal", 5, draws=256, examples=8, coords=2000), 4.0 / 8 / 0.09
    progress = _progress(sample, sgd())
    for k in (2.0, 8.0):
        found = equivalent_batch(progress, (1.0 + ratio) / (1.0 + ratio / k))
        assert found == pytest.approx(k, rel=0.15)
    assert equivalent_batch(progress, 2.0 * (1.0 + ratio)) == float("inf")
    assert equivalent_batch(progress, 1.0) == pytest.approx(1.0)


def test_the_interval_covers_what_many_draws_show() -> None:
    """The truth is of another, 16 times longer run of the same kind: its own error is a few percent of the interval."""
    truth = _value(_gains(planted("loud", 100, draws=1024, coords=300))["clip_norm"])
    found = [_gains(planted("loud", seed, coords=300))["clip_norm"].gain for seed in range(40)]
    inside = [x is not None and x.low <= truth <= x.high for x in found]
    assert np.mean(inside) > 0.85


def test_layers_add_up() -> None:
    one, other = (_progress(planted("loud", seed, coords=300)) for seed in (6, 7))
    both = add_progress([one, other])
    np.testing.assert_allclose(both.along, one.along + other.along)
    lone = gains(add_progress([one.scaled(5.0)]))
    for found, expected in zip(lone, gains(one), strict=True):
        assert _value(found) == pytest.approx(_value(expected))
    assert len(gains(both)) == len({arm.remedy for arm in ARMS})


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros((64, 40)), Status.ALL_ZERO),
        (np.full((64, 40), np.nan), Status.NON_FINITE),
        (np.random.default_rng(0).standard_normal((15, 40)), Status.TOO_FEW_DRAWS),
        (np.ones((64, 0)), Status.TOO_FEW_DRAWS),
    ],
)
def test_what_cannot_be_measured_has_a_status(values: np.ndarray, status: Status) -> None:
    sq_norms = np.nan_to_num(np.square(values).sum(axis=1))
    sample = CoordinateSample(np.arange(values.shape[1]), values.astype(np.float32), sq_norms, sq_norms)
    assert measure_progress(sample, adam()) is status


def test_noise_without_signal_gains_nothing_that_can_be_told() -> None:
    values = np.random.default_rng(0).standard_normal((64, 40)).astype(np.float32)
    sq_norms = np.square(values).sum(axis=1, dtype=np.float64)
    for found in _gains(CoordinateSample(np.arange(40), values, sq_norms, sq_norms)).values():
        assert (found.gain, found.arm, found.status) == (None, None, Status.NO_SIGNAL)


def test_noise_that_one_draw_outweighs_gives_lower_bounds() -> None:
    heavy = [_progress(planted("cauchy", seed)) for seed in range(2)]
    even = [_progress(planted(cause, seed)) for cause in ("equal", "lognormal") for seed in range(2)]
    assert all(progress.at_least for progress in heavy)
    assert not any(progress.at_least for progress in even)
    assert {found.status for found in gains(heavy[0])} == {Status.AT_LEAST}
    assert {found.status for found in gains(even[0])} == {Status.OK}
    small = heavy[0].scaled(0.01 * float(even[0].size[0].mean() / heavy[0].size[0].mean()))
    assert not add_progress([even[0], small]).at_least
    assert add_progress([even[0], heavy[0]]).at_least


def test_one_of_few_draws_may_have_more_than_one_of_many() -> None:
    norms = np.ones(16)
    norms[3] = 3.0
    assert not one_outweighs(norms)
    norms[3] = 6.0
    assert one_outweighs(norms)
    assert not one_outweighs(np.zeros(16))
