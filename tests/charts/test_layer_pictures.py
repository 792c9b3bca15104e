"""Quantiles and singular values of one layer."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.charts.quantile_plot import quantile_plot
from gnoise.charts.spectrum import spectrum
from gnoise.records import MatrixSample, SketchSample, Status, Verdict
from tests.charts.records import HOSTILE, known, sketches

PAIRS = 16


def _sample(values: np.ndarray) -> SketchSample:
    return SketchSample(sketches(values), sketches(values[4:]), 10**9)  # own scales measured without any error


def test_gaussian_noise_lies_on_the_line_and_heavy_noise_above() -> None:
    rng = np.random.default_rng(0)
    calm = quantile_plot(_sample(rng.standard_normal((8, 50_000))), []).table
    assert np.mean((calm["low"] <= calm["gaussian"]) & (calm["gaussian"] <= calm["high"])) > 0.8
    np.testing.assert_allclose(calm["measured"], calm["gaussian"], rtol=0.1)
    heavy = quantile_plot(_sample(rng.standard_t(2, (8, 50_000))), [])
    last = heavy.table.iloc[-1]
    assert last["low"] > 3.0 * last["gaussian"]
    assert "times (" in heavy.finding


def test_the_law_that_answers_is_drawn_along() -> None:
    values = np.random.default_rng(0).standard_t(3, (8, 50_000))
    verdict = Verdict("w", "tails_draws", "student_t", "", None, None, 8, Status.OK)
    chart = quantile_plot(_sample(values), [verdict])
    assert [trace.name for trace in chart.figure.data][1].startswith("Student t")
    middle = chart.table[chart.table["share_beyond"] > 1e-3]
    np.testing.assert_allclose(middle["law"], middle["measured"], rtol=0.1)
    assert quantile_plot(_sample(values), []).table["law"].isna().all()


def test_too_few_values_have_no_quantiles() -> None:
    chart = quantile_plot(SketchSample(sketches(np.ones((8, 3))), (), 16), [])
    assert not chart.figure.data
    assert "too few values" in chart.finding


def _matrix() -> MatrixSample:
    rows, columns = 6, 4
    edge = rows**0.5 + columns**0.5
    ones = np.ones(PAIRS)
    spectral = edge * np.linspace(0.9, 1.1, PAIRS)
    spectral[5] = 7.0 * edge
    return MatrixSample(
        rows=rows,
        columns=columns,
        spectral=spectral,
        nuclear=None,
        max_entry=ones,
        frobenius_sq=ones,
        l1=ones,
        sum_fourth=ones,
        ipr_left=ones,
        ipr_right=ones,
        row_energy=np.ones((PAIRS, rows)),
        column_energy=np.ones((PAIRS, columns)),
        winsorised_fourth=ones,
        bulk_scale=ones,
        max_position=np.full(PAIRS, 2 * columns + 1),
    )


def test_spikes_are_told_from_the_bulk_and_named() -> None:
    estimates = [known("w", "spectral_edge_ratio", 1.4, 1.0, 1.9)]
    chart = spectrum(_matrix(), estimates, labels=["a", "b", HOSTILE, "d", "e", "f"])
    assert chart.table["times_the_edge"].max() == pytest.approx(7.0)
    assert set(chart.table["label"]) == {HOSTILE}
    assert "in 9 of 16 pairs" in chart.finding
    assert "1.40 (1.00 to 1.90) times that edge" in chart.finding
    assert "farthest out is 7.00, its largest entry in row 2" in chart.finding
    assert not any("<b>" in text for trace in chart.figure.data for text in trace.text)


def test_where_there_is_no_bulk_it_says_why() -> None:
    sample = _matrix()
    assert "no matrix" in spectrum(None, []).finding
    assert "before the bulk was measured" in spectrum(replace(sample, bulk_scale=None), []).finding
    nothing = spectrum(replace(sample, bulk_scale=np.zeros(PAIRS)), [])
    assert "no bulk" in nothing.finding
    assert not nothing.figure.data
    assert "not recorded" in spectrum(replace(sample, max_position=None), []).finding
