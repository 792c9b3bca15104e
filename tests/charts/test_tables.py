"""Tables and tiles carry every number with its interval, or the reason why there is none."""

import math
from dataclasses import replace

import pytest

from gnoise.charts.tables import estimate_table, evidence, layer_table, title
from gnoise.charts.tiles import tiles
from gnoise.records import Status
from tests.charts.records import ESTIMATES, HOSTILE, INFO, LAYERS, RECOMMENDATIONS, known, unknown


def test_layer_table_has_one_row_a_layer_in_order() -> None:
    table = layer_table(LAYERS, ESTIMATES, RECOMMENDATIONS)
    assert list(table["layer"]) == [layer.name for layer in LAYERS]
    assert list(table["shape"])[:3] == ["50 × 12", "36 × 12", "36"]
    first = table.iloc[0]
    assert (first["b_simple"], first["b_simple_interval"]) == (100.0, "80.0 to 140")
    assert (first["row_dispersion"], first["remedy"]) == (38.0, "")
    assert table.iloc[-1]["remedy"] == "shrink"
    assert math.isnan(table.iloc[1]["row_dispersion"])


def test_layer_table_of_an_unanalyzed_run_is_empty_but_whole() -> None:
    table = layer_table(LAYERS, [], [])
    assert len(table) == len(LAYERS)
    assert table["b_simple"].isna().all()
    assert set(table["b_simple_interval"]) == {"–"}


def test_layer_table_says_why_an_interval_is_missing() -> None:
    lacking = [unknown("wte.weight", "b_simple", Status.NO_SIGNAL)]
    assert layer_table(LAYERS, lacking, []).iloc[0]["b_simple_interval"] == "no signal"


def test_estimate_table_gives_advice_in_place_of_a_number() -> None:
    table = estimate_table([known("w", "b_simple", 12.0, 10.0, None), unknown("w", "alpha_draws", Status.CONSTANT)])
    assert table.iloc[0]["95% interval"] == "≥ 10.0"
    assert table.iloc[0]["unit"] == "examples"
    assert table.iloc[1]["value"] == "–"
    assert table.iloc[1]["remarks"] == Status.CONSTANT.advice


def test_a_quantity_of_a_newer_version_keeps_its_name() -> None:
    assert title("something_new") == "something_new"
    assert estimate_table([known("w", "something_new", 1.0, 0.5, 1.5)]).iloc[0]["unit"] == ""


def test_evidence_names_numbers_with_intervals() -> None:
    assert evidence(RECOMMENDATIONS[0]) == "norm-spike ratio (max ‖g‖ / median ‖g‖) 1.60 (1.40 to 1.90)"


def test_tiles_hold_the_numbers_beside_what_to_compare_them_with() -> None:
    scale, tail, averaging, spikes = tiles(INFO, ESTIMATES)
    assert scale.value == "412 sequences"
    assert "95% interval 380 to 455" in scale.detail
    assert "your batch: 32 sequences" in scale.detail
    assert tail.value == "1.92"
    assert HOSTILE in tail.detail
    assert averaging.value == "-0.45 per doubling"
    assert spikes.value == "1.60 ×"
    assert "draw 12" in spikes.detail


def test_tiles_of_an_unanalyzed_run_say_what_to_type() -> None:
    assert all("gnoise analyze" in tile.detail and tile.value == "–" for tile in tiles(INFO, []))


@pytest.mark.parametrize("status", [Status.NO_SIGNAL, Status.ONE_SIDED])
def test_a_tile_without_a_number_gives_advice(status: Status) -> None:
    scale = tiles(replace(INFO, optimizer={}), [unknown(None, "b_simple", status, low=90.0)])[0]
    assert scale.value == "–"
    assert status.advice in scale.detail
    assert "at least 90.0" in scale.detail
    assert "no batch size in the checkpoint" in scale.detail


def test_the_tail_tile_gives_the_commonest_reason() -> None:
    lacking = [unknown(layer.name, "alpha_draws", Status.TOO_FEW_VALUES) for layer in LAYERS]
    assert tiles(INFO, lacking)[1].detail == Status.TOO_FEW_VALUES.advice
