"""The tail plot draws what was counted, beside laws that are what they say."""

import re

import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma

from gnoise.charts.laws import (
    cauchy_survival,
    gaussian_survival,
    stable_survival,
    standardised_gaussian_survival,
)
from gnoise.charts.tail import tail
from gnoise.records import SketchSample
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_law import stable_quantile
from tests.charts.records import known, sketches

PAIRS = 16


def _standardised(noise: np.ndarray, rng_scale: np.ndarray) -> np.ndarray:
    """Divide (blocks, pairs, coords) by the geometric mean of other pairs of the same coordinate."""
    return (noise / np.exp(np.log(np.abs(rng_scale)).mean(0))).reshape(len(noise), -1)


def _sample(law: str, *, equal_scales: bool = True) -> SketchSample:
    rng = np.random.default_rng(7)
    coords, pairs = 2_000, 4
    scales = np.ones(coords) if equal_scales else np.exp(1.5 * rng.standard_normal(coords))

    def noise(*shape: int) -> np.ndarray:
        size = (*shape, coords)
        raw = rng.standard_normal(size) if law == "gaussian" else stable_rvs(1.2, 0.0, size, rng)
        return raw * scales

    return SketchSample(
        entries=sketches(noise(8, pairs).reshape(8, -1)),
        draws=sketches(_standardised(noise(4, pairs), noise(PAIRS))),
        scale_pairs=PAIRS,
    )


def test_gaussian_noise_of_equal_scales_has_no_tail() -> None:
    finding = tail(_sample("gaussian"), []).finding
    assert finding.startswith("One noise entry in 1,000 is beyond 4.")
    assert finding.endswith("no tail heavier than a Gaussian is seen.")


def test_unequal_scales_are_not_blamed_on_the_noise() -> None:
    finding = tail(_sample("gaussian", equal_scales=False), []).finding
    assert finding.endswith("what looks heavy across entries is unequal scales, not the noise itself.")


def test_heavy_noise_is_called_heavy() -> None:
    finding = tail(_sample("stable", equal_scales=False), []).finding
    assert finding.endswith("the noise itself has a heavier tail than a Gaussian.")


def test_the_curve_is_the_exact_share_beyond() -> None:
    rng = np.random.default_rng(3)
    values = stable_rvs(1.5, 0.0, (2, 5_000), rng).astype(np.float32)
    table = tail(SketchSample(sketches(values), (), 0), []).table
    flat = np.abs(values).ravel()
    for row in table.iloc[::40].itertuples():
        assert row.share_beyond == pytest.approx((flat >= row.noise * (1 - 1e-12)).mean(), abs=1e-9)
    assert table["share_beyond"].iloc[-1] >= 1 / flat.size


def test_there_are_never_too_many_points() -> None:
    rng = np.random.default_rng(3)
    values = np.exp(20.0 * rng.standard_normal((2, 200_000)))
    sample = SketchSample(sketches(values), sketches(values), PAIRS)
    figure = tail(sample, [known("w", "alpha_entries", 0.6, 0.5, 0.7)]).figure
    assert sum(len(trace.x) for trace in figure.data) <= 2_000


def test_the_stable_law_is_drawn_only_where_its_index_is_known() -> None:
    sample = _sample("stable")
    names = [trace.name for trace in tail(sample, [known("w", "alpha_entries", 1.2, 1.1, 1.3)]).figure.data]
    assert "stable, α = 1.20" in names
    assert not any("stable" in trace.name for trace in tail(sample, []).figure.data)


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (np.zeros((8, 100)), "exactly zero"),
        (np.full((8, 1_000), np.nan), "NaN or Inf"),
        (np.ones((8, 3)), "too few values"),
    ],
)
def test_no_tail_gives_the_reason_and_no_picture(values: np.ndarray, advice: str) -> None:
    chart = tail(SketchSample(sketches(values), (), 0), [])
    assert advice in chart.finding
    assert not chart.figure.data
    assert chart.table.empty


def test_a_run_cut_off_before_its_first_block_has_no_tail() -> None:
    assert "too few draws" in tail(SketchSample((), (), 0), []).finding


def test_without_the_view_across_draws_it_says_so() -> None:
    rng = np.random.default_rng(5)
    chart = tail(SketchSample(sketches(rng.standard_normal((8, 4_000))), (), 0), [])
    assert "too few draws to divide each entry by its own scale" in chart.finding
    assert set(chart.table["view"]) == {"across entries"}


def test_equal_values_do_not_break_it() -> None:
    chart = tail(SketchSample(tuple(sketch_from_values(np.ones(500, np.float32)) for _ in range(8)), (), 0), [])
    assert re.search(r"beyond 1\.00 \(1\.00 to 1\.00\) medians", chart.finding)


@pytest.mark.parametrize("alpha", [0.6, 0.8, 1.0, 1.2, 1.5, 1.9, 2.0])
def test_stable_survival_is_that_of_simulated_values(alpha: float) -> None:
    values = np.abs(stable_rvs(alpha, 0.0, 400_000, np.random.default_rng(11)))
    values /= np.median(values)
    x = np.array([0.3, 1.0, 2.0, 4.0, 8.0])
    simulated = (values[:, None] > x).mean(0)
    error = np.sqrt(simulated * (1 - simulated) / values.size) + 1e-6
    # 2e-3 relative: the simulation's own median carries an error into every point.
    assert np.all(np.abs(stable_survival(x, alpha) - simulated) < 4 * error + 5e-3 * simulated)


def test_stable_survival_meets_the_closed_forms() -> None:
    x = np.geomspace(0.01, 1e3, 60)
    np.testing.assert_allclose(stable_survival(x, 2.0), gaussian_survival(x), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(stable_survival(x, 1.0), cauchy_survival(x), rtol=1e-11)
    np.testing.assert_allclose(stable_survival(x, 1.01), cauchy_survival(x), rtol=0.08)
    np.testing.assert_allclose(cauchy_survival(x), 2 * stats.cauchy.sf(x), rtol=1e-12)
    assert gaussian_survival(np.array([1.0]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("alpha", [0.6, 1.3, 1.95])
def test_stable_survival_keeps_its_digits_in_the_far_tail(alpha: float) -> None:
    x = np.array([1e8, 1e12])
    share = stable_survival(x, alpha)
    power = 2.0 / np.pi * gamma(alpha) * np.sin(np.pi * alpha / 2.0) * (x * stable_quantile(0.75, alpha, 0.0)) ** -alpha
    np.testing.assert_allclose(share, power, rtol=1e-4)


@pytest.mark.parametrize("pairs", [8, 16, 64])
def test_standardised_gaussian_survival_is_that_of_simulated_values(pairs: int) -> None:
    rng = np.random.default_rng(13)
    scale = np.exp(np.log(np.abs(rng.standard_normal((100_000, pairs)))).mean(1))
    values = np.abs(rng.standard_normal((8, 100_000)) / scale).ravel()
    values /= np.median(values)
    x = np.array([0.3, 1.0, 3.0, 5.0])
    simulated = (values[:, None] > x).mean(0)
    np.testing.assert_allclose(standardised_gaussian_survival(x, pairs), simulated, rtol=0.08, atol=5e-4)
