from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gnoise.charts.moments import Moment, evolution, moment, norm_layer_fit, same_training
from gnoise.export import batch_schedule
from gnoise.stats.norm_layer_fit import fit_norm_layers
from tests.charts.records import ESTIMATES, INFO, LAYERS, known


def _moments(totals: Sequence[float], norms: Sequence[float]) -> list[Moment]:
    found: list[Moment] = []
    for i, (total, norm) in enumerate(zip(totals, norms, strict=True), start=1):
        info = replace(INFO, optimizer={**INFO.optimizer, "iteration": 100 * i}, checkpoint_sha256=str(i))
        scales = [known(None, "b_simple", total, 0.9 * total, None), known(None, "b_simple_norm", norm, norm, norm)]
        made = moment(f"run {i}", info, scales)
        assert made is not None
        found.append(made)
    return found


def test_regression_covers_a_known_line() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        norm = rng.uniform(10.0, 50.0, 6)
        fit = fit_norm_layers(norm, 5.0 + 1.4 * norm + rng.standard_normal(6))
        assert fit is not None
        covered += fit.slope_low <= 1.4 <= fit.slope_high
    assert 275 <= covered <= 295


def test_an_exact_line_is_found_exactly() -> None:
    norm = np.array([10.0, 20.0, 40.0])
    fit = fit_norm_layers(norm, 3.0 + 2.0 * norm)
    assert fit is not None
    assert (fit.slope, fit.intercept, fit.r, fit.moments) == pytest.approx((2.0, 3.0, 1.0, 3))
    assert fit.error == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(fit.predict(norm), 3.0 + 2.0 * norm)
    falling = fit_norm_layers(norm, 200.0 - norm)
    assert falling is not None
    assert falling.r == pytest.approx(-1.0)


@pytest.mark.parametrize("norm", [[], [1.0], [1.0, 2.0], [5.0, 5.0, 5.0]])
def test_too_few_or_equal_moments_have_no_line(norm: list[float]) -> None:
    assert fit_norm_layers(np.array(norm), np.arange(1.0, 1.0 + len(norm))) is None


@pytest.mark.parametrize(("iteration", "trained"), [(0, 0), (float("nan"), None), (-5, None), (None, None)])
def test_an_untrained_checkpoint_is_a_moment_and_nonsense_is_none(iteration: float | None, trained: int | None) -> None:
    info = replace(INFO, optimizer={**INFO.optimizer, "iteration": iteration})
    made = moment("start", info, [known(None, "b_simple", 30.0, 20.0, 40.0)])
    assert (None if made is None else made.trained) == trained
    if made is not None:
        later = _moments([50.0], [10.0])
        assert "30.0" in evolution([made, *later]).finding
        schedule = batch_schedule([float(made.trained)], [30.0], lowest=8, highest=64)
        assert schedule.examples_at(0.0) == 30.0


def test_moments_are_drawn_in_order_with_the_prediction() -> None:
    chart = evolution(_moments([30.0, 50.0, 70.0], [10.0, 20.0, 30.0])[::-1])
    assert list(chart.table["run"]) == ["run 1", "run 2", "run 3"]
    assert list(chart.table["trained on"]) == [100 * 32 * 64, 200 * 32 * 64, 300 * 32 * 64]
    np.testing.assert_allclose(chart.table["predicted from them"], [30.0, 50.0, 70.0])
    assert "total = 10.0 + 2.00 × theirs" in chart.finding
    assert "r = 1.000" in chart.finding
    assert [trace.name for trace in chart.figure.data] == ["measured", "from norm layers"]


def test_two_moments_are_no_fit_and_one_is_no_evolution() -> None:
    two = _moments([30.0, 50.0], [10.0, 20.0])
    assert norm_layer_fit(two) is None
    assert "Three moments" in evolution(two).finding
    for few in (two[:1], []):
        chart = evolution(few)
        assert "Profile more checkpoints" in chart.finding
        assert not chart.figure.data


def test_a_run_that_does_not_tell_its_length_is_no_moment() -> None:
    assert moment("run", INFO, ESTIMATES) is None
    assert moment("run", replace(INFO, optimizer={"iteration": 5, "batch_size": 2}), []) is None


def test_only_other_weights_of_the_same_network_are_the_same_training() -> None:
    later = replace(INFO, checkpoint_sha256="1" * 64)
    assert same_training((INFO, LAYERS), (later, LAYERS))
    assert not same_training((INFO, LAYERS), (INFO, LAYERS))
    assert not same_training((INFO, LAYERS), (later, LAYERS[:-1]))
    assert not same_training((INFO, LAYERS), (replace(later, tokens_per_example=128), LAYERS))
