"""Norms over their moving level: what drifts is no spike, what spikes still is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.records import Estimate, NormSample
from gnoise.stats.level import REACH, over_level
from gnoise.stats.outliers import estimate_outliers
from gnoise.stats.spikes import estimate_spikes
from gnoise.stats.statistic import Subject
from tests.contract.samples import draw_sample

DRAWS, EXAMPLES = 128, 16


def _norms(level: np.ndarray, *, spikes: bool = False) -> NormSample:
    """A level times norms of Gaussian vectors, of 112 entries for draws; one draw in twenty is loud, or none."""
    rng = np.random.default_rng(0)
    loud = np.where(np.arange(DRAWS) % 20 == 7, 5.0, 1.0) if spikes else np.ones(DRAWS)
    of_draws = np.square(level * loud) * rng.chisquare(112, DRAWS)
    of_examples = np.square(level * loud)[:, None] * rng.chisquare(8, (DRAWS, EXAMPLES))
    return NormSample(of_examples, of_draws, np.ones(8), np.full((DRAWS, EXAMPLES), 1.0 / EXAMPLES))


def _falling() -> np.ndarray:
    return 1.0 + 4.0 * np.exp(-np.arange(DRAWS) // 2 / 1.5)


def _found(sample: NormSample, *, moving: bool) -> dict[str, Estimate]:
    subject = Subject(None, draws=draw_sample(DRAWS, EXAMPLES), moving=moving)
    found = [*estimate_spikes(subject, sample), *estimate_outliers(subject, sample)]
    return {each.quantity: each for each in found}


def test_a_level_that_falls_passes_for_spikes_unless_it_is_taken_out() -> None:
    sample = _norms(_falling())
    still, moving = _found(sample, moving=False), _found(sample, moving=True)
    for quantity, calm in (("spike_ratio", 2.0), ("example_spike_ratio", 2.0), ("loud_example_share", 0.001)):
        before, after = still[quantity].low, moving[quantity].low
        assert before is not None
        assert after is not None
        assert after < calm < before
    assert "around it" in moving["spike_ratio"].note
    assert still["spike_ratio"].note == ""


def test_spikes_on_a_level_that_falls_are_still_found() -> None:
    low = _found(_norms(_falling(), spikes=True), moving=True)["spike_ratio"].low
    assert low is not None
    assert low > 3.0


def test_where_the_level_stands_still_little_changes() -> None:
    sample = _norms(np.ones(DRAWS))
    still, moving = (_found(sample, moving=moving)["spike_ratio"].value for moving in (False, True))
    assert moving == pytest.approx(still, rel=0.05)


@given(st.integers(1, 40), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_scale_does_not_matter_and_zeros_stay(draws: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sq_norms = rng.chisquare(3, draws) * (rng.random(draws) < 0.5)
    relative = over_level(sq_norms)
    np.testing.assert_allclose(over_level(scale * sq_norms), relative, rtol=1e-12)
    np.testing.assert_array_equal(relative == 0.0, sq_norms == 0.0)


def test_the_level_is_the_median_of_the_draws_around() -> None:
    sq_norms = np.arange(1.0, 41.0)
    relative = over_level(sq_norms)
    assert relative[20] == sq_norms[20] / np.median(sq_norms[20 - REACH : 20 + REACH + 1])
    assert relative[0] == sq_norms[0] / np.median(sq_norms[: REACH + 1])
    broken = np.array([1.0, np.nan, 2.0])
    assert over_level(broken) is broken
