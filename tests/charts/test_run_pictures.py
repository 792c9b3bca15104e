"""Norms by draw, and noise scales by depth."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.charts.chart import MOST_POINTS
from gnoise.charts.depth import noise_by_depth
from gnoise.charts.norm_series import norm_series
from gnoise.records import DrawSample, NormSample
from tests.charts.records import ESTIMATES, INFO, LAYERS, known


def _drawn(draws: int) -> tuple[DrawSample, NormSample]:
    weights = np.full((draws, 2), 0.5)
    ids = np.arange(2 * draws).reshape(draws, 2)
    examples = np.ones((draws, 2))
    examples[3] = [1.0, 400.0]
    squares = np.full(draws, 4.0)
    squares[3] = 100.0
    return DrawSample(ids, examples / 2.0, weights), NormSample(examples, squares, np.ones(8), weights)


def test_the_largest_norm_is_named_with_its_example_and_the_clip_rate() -> None:
    info = replace(INFO, optimizer=dict(INFO.optimizer) | {"clip_global_norm": 3.0})
    rate = known(None, "clip_rate", 0.0625, 0.01, 0.2)
    chart = norm_series(info, *_drawn(16), [rate])
    assert "is 5.00 times the median norm 2.00" in chart.finding
    assert "its loudest sequence is 7 (norm 20.0)" in chart.finding
    assert "threshold 3 would cut 6.2% of draws (95% interval 1.0% to 20.0%)" in chart.finding
    assert chart.figure.layout.shapes[0].y0 == pytest.approx(3.0)
    assert list(chart.table["norm"])[:4] == [2.0, 2.0, 2.0, 10.0]


def test_without_a_threshold_there_is_no_clip_line() -> None:
    chart = norm_series(INFO, *_drawn(16), [])
    assert "no clip threshold is in the checkpoint" in chart.finding
    assert len(chart.figure.layout.shapes) == 1
    known_line = replace(INFO, optimizer={"clip_global_norm": 3.0})
    assert "is not known" in norm_series(known_line, *_drawn(16), []).finding


def test_a_long_watch_is_thinned_and_its_table_whole() -> None:
    chart = norm_series(INFO, *_drawn(20_000), [])
    assert all(len(trace.x) <= MOST_POINTS for trace in chart.figure.data)
    assert len(chart.table) == 20_000
    assert 3 in chart.figure.data[0].x


def test_an_empty_or_broken_run_says_why() -> None:
    draws, norms = _drawn(16)
    nothing = norm_series(INFO, *_drawn_none(), [])
    assert "no draw was recorded" in nothing.finding
    broken = norm_series(INFO, draws, replace(norms, draw_sq_norms=np.full(16, np.nan)), [])
    assert "not finite" in broken.finding
    assert not broken.figure.data


def _drawn_none() -> tuple[DrawSample, NormSample]:
    none = np.empty((0, 2))
    return DrawSample(none.astype(np.int64), none, none), NormSample(none, np.empty(0), np.empty(0), none)


def test_layers_stand_at_their_depth_with_a_trace_a_kind() -> None:
    chart = noise_by_depth(INFO, LAYERS, ESTIMATES)
    assert {trace.name for trace in chart.figure.data} == {"attention", "bias", "mlp"}
    assert len(chart.table) == len(LAYERS)
    assert "in block 0 is" in chart.finding
    deeper = [replace(layer, depth=place) for place, layer in enumerate(LAYERS)]
    assert "in block 0 to 110 in block 5" in noise_by_depth(INFO, deeper, ESTIMATES).finding
    assert not noise_by_depth(INFO, LAYERS, []).figure.data
