"""The heat map says where to look, and nothing that the numbers do not."""

import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from gnoise.charts.chart import Grid
from gnoise.charts.concern import LOUD, calm_max_entry_ratio, concern
from gnoise.charts.heat_map import COLUMNS, MAX_LAYERS, heat_map
from gnoise.records import Estimate, Kind, Layer, Status
from tests.charts.records import ESTIMATES, HOSTILE, LAYERS, known, unknown

MATRIX = Layer("w", Kind.MLP, (48, 80))


def _concern(estimate: Estimate, median: float | None = None) -> float | None:
    return concern(estimate, MATRIX, median_noise_scale=median)


def test_the_loudest_cell_is_named_with_its_interval() -> None:
    finding = heat_map(LAYERS, ESTIMATES).finding
    assert finding.startswith("1 of 6 layers has a number that is loud")
    assert "row dispersion of wte.weight, 38.0 (31.0 to 45.0)" in finding
    assert "1 of 32 cells have no number" in finding


def test_a_calm_run_is_called_calm() -> None:
    calm = [each for each in ESTIMATES if each.quantity != "row_dispersion"]
    assert heat_map(LAYERS, calm).finding == ("None of 6 layers has a number that is loud with its whole interval.")


def test_nothing_analyzed_says_what_to_type() -> None:
    chart = heat_map(LAYERS, [])
    assert "gnoise analyze" in chart.finding
    assert chart.table.empty


def test_the_table_holds_every_cell_as_numbers() -> None:
    table = heat_map(LAYERS, ESTIMATES).table
    assert len(table) == 32
    row = table[(table["layer"] == "wte.weight") & (table["quantity"] == "row_dispersion")].iloc[0]
    assert (row["value"], row["low"], row["high"]) == (38.0, 31.0, 45.0)
    missing = table[table["status"] == "too_few_draws"].iloc[0]
    assert math.isnan(missing["value"])
    assert math.isnan(missing["concern"])


def _read(grid: Grid) -> list[list[ET.Element]]:
    """Rows of the picture; it is well-formed, so that no name ended an element early."""
    return [list(row) for row in ET.fromstring(grid.html).iter("tr")]


def test_names_are_shown_as_text() -> None:
    rows = _read(heat_map(LAYERS, ESTIMATES))[1:]
    names = ["".join(row[0].itertext()) for row in rows]
    whole = [row[0][0].attrib["title"] for row in rows]
    assert whole == [layer.name for layer in LAYERS]
    assert names[-1].startswith("<b>")
    assert HOSTILE in rows[-1][1].attrib["title"]


def test_a_name_leads_where_it_is_told() -> None:
    grid = heat_map(LAYERS, ESTIMATES, address=lambda layer: f'layers?layer="{layer}"')
    assert [row[0][0].attrib["href"] for row in _read(grid)[1:]] == [f'layers?layer="{each.name}"' for each in LAYERS]


def test_of_many_layers_the_loudest_are_drawn_in_the_models_order() -> None:
    layers = [Layer(f"h.{number}.weight", Kind.MLP, (8, 8), depth=number) for number in range(60)]
    estimates = [known(layer.name, "spike_ratio", 1.1, 1.0, 1.2) for layer in layers]
    estimates[50] = known("h.50.weight", "spike_ratio", 9.0, 7.0, 11.0)
    grid = heat_map(layers, estimates)
    drawn = ["".join(row[0].itertext()) for row in _read(grid)[1:]]
    assert len(drawn) == MAX_LAYERS
    assert drawn[-1] == "h.50.weight"
    assert f"the {MAX_LAYERS} loudest are drawn" in grid.finding
    assert len(grid.table) == 60


def test_a_loud_cell_is_marked_without_colour_and_black_on_its_own_ground() -> None:
    cells = [cell for row in _read(heat_map(LAYERS, ESTIMATES))[1:] for cell in row[1:]]
    loud = [cell for cell in cells if (cell.text or "").startswith("▲")]
    assert [cell.text for cell in loud] == ["▲ 38.0"]
    assert all("color: black" in cell.attrib["style"] for cell in loud)
    assert not any("color: black" in cell.attrib.get("style", "") for cell in cells if cell not in loud)


def test_a_layer_without_a_number_has_an_empty_cell() -> None:
    grid = heat_map(LAYERS[:2], [known(LAYERS[0].name, "spike_ratio", 1.1, 1.0, 1.2)])
    cells = [row[1] for row in _read(grid)[1:]]
    assert [cell.text for cell in cells] == ["1.10", None]


@pytest.mark.parametrize(
    ("quantity", "calm", "loud"),
    [
        ("alpha_draws", (1.9, 2.0), (1.3, 1.5)),
        ("averaging_slope", (-0.6, -0.3), (-0.2, -0.1)),
        ("spike_ratio", (1.4, 9.0), (9.0, 12.0)),
        ("example_spike_ratio", (1.5, 20.0), (9.0, 30.0)),
        ("row_dispersion", (0.9, 90.0), (40.0, 90.0)),
        ("max_entry_ratio", (0.2, 0.9), (0.8, 0.95)),
        ("b_simple", (50.0, 9e9), (9e3, 2e4)),
    ],
)
def test_only_a_whole_interval_makes_a_number_loud(
    quantity: str, calm: tuple[float, float], loud: tuple[float, float]
) -> None:
    assert _concern(known("w", quantity, sum(calm) / 2, *calm), median=100.0) == 0.0
    assert LOUD <= _concern(known("w", quantity, sum(loud) / 2, *loud), median=100.0) <= 1.0


def test_what_has_no_scale_has_no_concern() -> None:
    assert _concern(known("w", "alpha_entries", 1.0, 0.9, 1.1)) is None
    assert _concern(known("w", "b_simple", 1e6, 1e5, 1e7)) is None
    assert _concern(unknown("w", "spike_ratio", Status.TOO_FEW_DRAWS)) is None


def test_an_unbounded_end_is_calm_and_a_bound_alone_can_be_loud() -> None:
    assert _concern(known("w", "averaging_slope", -0.1, None, 0.0)) == 0.0
    one_sided = unknown("w", "b_simple", Status.ONE_SIDED, low=1e6)
    assert _concern(one_sided, median=100.0) == 1.0


def test_the_normal_largest_entry_follows_the_shape() -> None:
    assert calm_max_entry_ratio(MATRIX) == pytest.approx(0.2568, abs=1e-3)
    assert calm_max_entry_ratio(replace(MATRIX, shape=(2, 2))) < 1.0


def test_every_column_is_a_known_quantity() -> None:
    from gnoise.quantities import QUANTITIES

    assert set(COLUMNS) <= set(QUANTITIES)
