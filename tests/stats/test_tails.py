"""Both tail views on planted noise: what is found, how sure, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest

from gnoise.records import Estimate, SketchSample, Status
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.statistic import Subject
from gnoise.stats.tails import STATISTIC, estimate_tails

BLOCKS = 8
MODEL = Subject(layer=None)


def _sample(draws: np.ndarray) -> SketchSample:
    """Collect draws (draws, coords) as a run does: pairs by block, later ones also over their scale."""
    noise = ((draws[0::2] - draws[1::2]) / np.sqrt(2.0)).reshape(BLOCKS, -1, draws.shape[1])
    scale_pairs = BLOCKS // 2 * noise.shape[1]
    first = np.abs(noise[: BLOCKS // 2]).reshape(scale_pairs, -1)
    moving = np.count_nonzero(first, axis=0) >= scale_pairs / 2
    logs = np.log(np.where(first > 0.0, first, 1.0)[:, moving])
    scale = np.exp(logs.sum(axis=0) / np.count_nonzero(first[:, moving], axis=0))
    return SketchSample(
        entries=tuple(sketch_from_values(block.astype(np.float32)) for block in noise),
        draws=tuple(
            sketch_from_values((block[:, moving] / scale).astype(np.float32)) for block in noise[BLOCKS // 2 :]
        ),
        scale_pairs=scale_pairs,
    )


def _estimates(draws: np.ndarray) -> dict[str, Estimate]:
    return {estimate.quantity: estimate for estimate in estimate_tails(MODEL, _sample(draws))}


def _gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(64, 500))


def _unequal(rng: np.random.Generator) -> np.ndarray:
    return _gaussian(rng) * np.exp(2.0 * np.random.default_rng(0).normal(size=500))


def _shared(rng: np.random.Generator) -> np.ndarray:
    """A random direction that all coordinates of a draw move along together."""
    direction = np.random.default_rng(0).normal(size=500)
    return _gaussian(rng) + rng.normal(size=(64, 1)) * direction


@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.8])
def test_stable_noise_reads_the_same_in_both_views(alpha: float) -> None:
    found = _estimates(stable_rvs(alpha, 0.0, (64, 5000), np.random.default_rng(1), gamma=0.01))
    assert found["alpha_entries"].value == pytest.approx(alpha, abs=0.02)
    assert found["alpha_draws"].value == pytest.approx(alpha, abs=0.03)
    assert found["gamma_entries"].value == pytest.approx(0.01, rel=0.02)
    share = found["heterogeneity"]
    assert share.low is not None
    assert share.low <= 0.05


def test_unequal_scales_are_told_from_heavy_tails() -> None:
    found = _estimates(_unequal(np.random.default_rng(2)))
    entries, draws, share = found["alpha_entries"], found["alpha_draws"], found["heterogeneity"]
    assert entries.high is not None
    assert entries.high < 0.8
    assert draws.value is not None
    assert draws.value >= 1.95
    assert share.low is not None
    assert share.low > 0.95


def test_scales_are_those_of_one_draw_and_not_of_a_pair() -> None:
    rng = np.random.default_rng(3)
    cauchy = _estimates(0.2 * rng.standard_cauchy((64, 5000)))
    assert cauchy["gamma_entries"].value == pytest.approx(0.2, rel=0.03)
    assert cauchy["cauchy_scale_entries"].value == pytest.approx(0.2, rel=0.03)
    gaussian = _estimates(0.2 * rng.normal(size=(64, 5000)))
    assert gaussian["gamma_entries"].value == pytest.approx(0.2 / np.sqrt(2.0), rel=0.02)
    assert gaussian["cauchy_scale_entries"].value == pytest.approx(0.2 * 0.6745, rel=0.02)
    one_draw = _unequal(rng)
    quartiles = np.quantile(one_draw, [0.25, 0.75])
    unequal = _estimates(one_draw)["cauchy_scale_entries"]
    assert unequal.value == pytest.approx(0.5 * (quartiles[1] - quartiles[0]), rel=0.1)


def _covered(found: list[Estimate], truth: float) -> int:
    ends = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    assert len(ends) == len(found)
    return sum(low <= truth <= high for low, high in ends)


@pytest.mark.parametrize("law", [_unequal, _shared], ids=["unequal", "shared"])
def test_intervals_cover_gaussian_noise(law: Callable[[np.random.Generator], np.ndarray]) -> None:
    rng = np.random.default_rng(4)
    found = [_estimates(law(rng))["alpha_draws"] for _ in range(24)]
    assert _covered(found, 2.0) >= 20  # at 95%: fewer than one time in a hundred


def test_intervals_cover_stable_noise() -> None:
    rng = np.random.default_rng(5)
    found = [_estimates(stable_rvs(1.5, 0.0, (64, 500), rng)) for _ in range(32)]
    for quantity in ("alpha_entries", "alpha_draws"):
        estimates = [estimates[quantity] for estimates in found]
        assert _covered(estimates, 1.5) >= 27  # at 95%: fewer than one time in a hundred
        values, stderr = np.array([e.value for e in estimates]), np.array([e.stderr for e in estimates])
        assert values.std(ddof=1) == pytest.approx(np.sqrt(np.mean(stderr**2)), rel=0.4)
        assert abs(np.mean((values - 1.5) / stderr)) < 0.7


@pytest.mark.parametrize("factor", [1e-20, 1e15])
def test_units_change_scales_and_nothing_else(factor: float) -> None:
    draws = stable_rvs(1.6, 0.0, (64, 400), np.random.default_rng(6))
    one, other = _estimates(draws), _estimates(factor * draws)
    for quantity in ("alpha_entries", "alpha_draws", "heterogeneity"):
        assert other[quantity].value == pytest.approx(one[quantity].value, abs=0.005)
    for quantity in ("gamma_entries", "cauchy_scale_entries"):
        assert other[quantity].value == pytest.approx(factor * (one[quantity].value or 0.0), rel=0.005)


def test_a_mean_gradient_makes_no_difference() -> None:
    draws = stable_rvs(1.6, 0.0, (64, 400), np.random.default_rng(7))
    one, other = _estimates(draws), _estimates(draws + np.linspace(-5.0, 5.0, 400))
    assert other["alpha_entries"].value == pytest.approx(one["alpha_entries"].value, abs=1e-4)


def test_rows_that_most_draws_never_reach_are_left_out() -> None:
    rng = np.random.default_rng(8)
    draws = rng.normal(size=(64, 1000))
    draws[:, 500:] *= rng.random((64, 500)) < 0.03
    found = _estimates(draws)
    assert found["alpha_draws"].value == pytest.approx(2.0, abs=0.03)
    assert found["alpha_entries"].value == pytest.approx(2.0, abs=0.05)


def test_without_heaviness_there_is_no_share_of_it() -> None:
    share = _estimates(_gaussian(np.random.default_rng(9)))["heterogeneity"]
    assert (share.value, share.status) == (None, Status.NOT_HEAVY)


def test_heaviness_that_one_block_makes_has_no_share() -> None:
    draws = _gaussian(np.random.default_rng(10))
    draws[:8] *= 8.0
    found = _estimates(draws)
    heavy = found["alpha_entries"]
    assert heavy.value is not None
    assert heavy.value < 1.5
    assert heavy.high == 2.0
    assert found["heterogeneity"].status is Status.TOO_FEW_DRAWS


def _status(sample: SketchSample) -> set[Status]:
    estimates = estimate_tails(MODEL, sample)
    assert [estimate.quantity for estimate in estimates] == list(STATISTIC.quantities)
    assert all(estimate.value is None for estimate in estimates)
    return {estimate.status for estimate in estimates}


def test_bad_data_give_a_status() -> None:
    rng = np.random.default_rng(11)
    assert _status(_sample(np.zeros((64, 40)))) <= {Status.ALL_ZERO, Status.TOO_FEW_VALUES}
    assert _status(_sample(rng.normal(size=(64, 10)))) == {Status.TOO_FEW_VALUES}
    broken = rng.normal(size=(64, 400))
    broken[60, 3] = np.nan
    assert _status(_sample(broken)) == {Status.NON_FINITE}
    assert _status(SketchSample(entries=(), draws=(), scale_pairs=0)) == {Status.TOO_FEW_DRAWS}


def test_without_an_index_across_draws_scales_stay_those_of_pairs() -> None:
    whole = _sample(np.random.default_rng(12).standard_cauchy((64, 2000)))
    sample = SketchSample(entries=whole.entries, draws=(), scale_pairs=16)
    found = {estimate.quantity: estimate for estimate in estimate_tails(MODEL, sample)}
    assert found["alpha_draws"].status is Status.TOO_FEW_DRAWS
    assert found["gamma_entries"].value == pytest.approx(np.sqrt(2.0), rel=0.05)
    assert found["gamma_entries"].note.startswith("of pairs")
