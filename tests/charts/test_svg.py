"""Still pictures: every mark stands where its numbers say, and text stays text."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import plotly.graph_objects as go
import pytest

from gnoise.charts.axes import axis_of
from gnoise.charts.chart import MOST_POINTS, thinned
from gnoise.charts.svg import svg


def _parsed(figure: go.Figure, title: str = "what it says") -> ET.Element:
    return ET.fromstring(f"<div>{svg(figure, title)}</div>")


def test_points_stand_where_their_numbers_say() -> None:
    figure = go.Figure(go.Scatter(x=[1.0, 10.0, 100.0, 0.0], y=[0.0, 5.0, 10.0, 1.0], mode="markers"))
    figure.update_xaxes(type="log", range=[0.0, 2.0])
    figure.update_yaxes(range=[0.0, 10.0])
    marks = list(_parsed(figure).iter("circle"))
    x, y = ([float(each.attrib[side]) for each in marks] for side in ("cx", "cy"))
    assert len(marks) == 3  # 0 has no logarithm
    assert x[1] == pytest.approx((x[0] + x[2]) / 2.0, abs=0.1)
    assert y[1] == pytest.approx((y[0] + y[2]) / 2.0, abs=0.1)
    assert y[0] > y[2]


def test_lines_have_gaps_where_numbers_are_missing() -> None:
    figure = go.Figure(go.Scatter(x=[0, 1, 2, 3], y=[1.0, None, 2.0, 3.0], mode="lines"))
    path = next(each.attrib["d"] for each in _parsed(figure).iter("path") if each.attrib.get("fill") == "none")
    assert path.count("M") == 2


def test_error_bars_and_lines_across_fit_on_the_axis() -> None:
    figure = go.Figure(go.Scatter(x=[10.0], y=["one"], mode="markers", error_x={"array": [30.0], "arrayminus": [5.0]}))
    figure.add_vline(x=-20.0)
    marks = [m for each in _parsed(figure).iter("path") for m in re.findall(r"[MH](-?[\d.]+)", each.attrib["d"])]
    assert min(map(float, marks)) > 0.0
    assert max(map(float, marks)) < 900.0


def test_text_out_of_a_file_is_never_markup() -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[1], mode="markers+text", text=["&lt;script&gt;alert(1)&lt;/script&gt;"]))
    drawn = svg(figure, '"><script>')
    assert "<script" not in drawn
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in drawn


def test_an_axis_without_any_number_still_draws() -> None:
    axis = axis_of({}, [[None, float("nan")]], 0.0, 100.0)
    assert np.isnan(axis.place([None])).all()
    assert axis.inside


def test_a_long_series_keeps_its_extremes() -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    kept = thinned(values)
    assert kept.size <= MOST_POINTS
    assert {int(values.argmin()), int(values.argmax())} <= set(kept.tolist())
    assert thinned(values[:7]).tolist() == [0, 1, 2, 3, 4, 5, 6]
