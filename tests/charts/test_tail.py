"""The tail plot draws what was counted, beside laws that are what they say."""

import re

import numpy as np
import pytest
from scipy import stats

from gnoise.charts.laws import cauchy_survival, gaussian_survival, standardised_gaussian_survival
from gnoise.charts.tail import tail
from gnoise.records import SketchSample, Status, Verdict
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.statistic import Subject
from gnoise.stats.tail_laws import judge_tails
from tests.charts.records import sketches

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
    figure = tail(sample, []).figure
    assert sum(len(trace.x) for trace in figure.data) <= 2_000


def test_the_law_that_answers_is_fitted_and_meets_the_data() -> None:
    verdicts = judge_tails(Subject(None), sample := _sample("stable"))
    chart = tail(sample, [each for each in verdicts if isinstance(each, Verdict)])
    fitted = [trace for trace in chart.figure.data if str(trace.name).startswith("symmetric stable")]
    assert len(fitted) == 2
    for trace, view in zip(fitted, ("across entries", "across draws"), strict=True):
        assert float(trace.name.split("alpha ")[1]) == pytest.approx(1.2, abs=0.05)
        data = chart.table[chart.table["view"] == view]
        seen = np.interp(np.log(trace.x), np.log(data["medians"]), np.log(data["share_beyond"]))
        common = trace.y > 1e-2
        np.testing.assert_allclose(np.log(trace.y[common]), seen[common], atol=0.1)


def test_a_law_is_drawn_only_where_a_verdict_names_one() -> None:
    sample = _sample("stable")
    silent = Verdict("w", "tails_draws", None, "", None, None, 8, Status.TOO_FEW_DRAWS)
    calm = Verdict("w", "tails_entries", "gaussian", "", None, 0.5, 8, Status.OK)
    bare = [trace.name for trace in tail(sample, []).figure.data]
    assert [trace.name for trace in tail(sample, [silent, calm]).figure.data] == bare


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


def test_reference_laws_meet_the_closed_forms() -> None:
    x = np.geomspace(0.01, 1e3, 60)
    np.testing.assert_allclose(cauchy_survival(x), 2 * stats.cauchy.sf(x), rtol=1e-12)
    assert gaussian_survival(np.array([1.0]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("pairs", [8, 16, 64])
def test_standardised_gaussian_survival_is_that_of_simulated_values(pairs: int) -> None:
    rng = np.random.default_rng(13)
    scale = np.exp(np.log(np.abs(rng.standard_normal((100_000, pairs)))).mean(1))
    values = np.abs(rng.standard_normal((8, 100_000)) / scale).ravel()
    values /= np.median(values)
    x = np.array([0.3, 1.0, 3.0, 5.0])
    simulated = (values[:, None] > x).mean(0)
    np.testing.assert_allclose(standardised_gaussian_survival(x, pairs), simulated, rtol=0.08, atol=5e-4)
