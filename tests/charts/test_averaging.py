"""The averaging curve lies on the line of the law that made it."""

import numpy as np
import pytest

from gnoise.charts.averaging import averaging
from gnoise.records import CoordinateSample
from gnoise.stats import Subject
from gnoise.stats.averaging import estimate_averaging
from tests.charts.records import LAYERS


def _sample(values: np.ndarray) -> CoordinateSample:
    ones = np.ones(values.shape[0])
    return CoordinateSample(np.arange(values.shape[1]), values.astype(np.float32), ones, ones)


@pytest.mark.parametrize("law", ["Gaussian", "Cauchy"])
def test_the_curve_follows_its_law(law: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((64, 800)) if law == "Gaussian" else rng.standard_cauchy((64, 800))
    sample = _sample(values * np.exp(rng.standard_normal(800)))
    estimates = [e for e in estimate_averaging(Subject(layer=LAYERS[0]), sample) if hasattr(e, "quantity")]
    chart = averaging(sample.values, estimates)
    np.testing.assert_allclose(chart.table["spread"], chart.table[law], rtol=0.12)
    assert (chart.table["low"] <= chart.table["spread"]).all()
    assert "it narrows as k^" in chart.finding
    assert {trace.name for trace in chart.figure.data} >= {"Gaussian", "Cauchy", "this layer"}


@pytest.mark.parametrize(
    "values", [np.zeros((64, 40)), np.full((64, 40), np.nan), np.ones((8, 40)), np.ones((0, 40)), np.ones((64, 3))]
)
def test_without_noise_there_is_a_reason(values: np.ndarray) -> None:
    chart = averaging(_sample(values).values, [])
    assert not chart.figure.data
    assert chart.finding.startswith("No averaging curve to draw")
    assert chart.table.empty
