from gnoise.charts.noise_scale import noise_scale_table, noise_scales
from gnoise.records import Status
from tests.charts.records import ESTIMATES, HOSTILE, INFO, LAYERS, known, unknown

KINDS = (
    known(None, "b_simple_mlp", 300.0, 250.0, 380.0),
    known(None, "b_simple_norm", 90.0, 70.0, None),
    unknown(None, "b_simple_bias", Status.NO_SIGNAL, low=55.0),
    known(None, "b_adam", 500.0, 400.0, 700.0),
)


def test_kinds_stand_beside_the_model_and_the_batch() -> None:
    chart = noise_scales(INFO, [*ESTIMATES, *KINDS])
    assert "equal at 412 sequences (95% interval 380 to 455), against a batch of 32 in training" in chart.finding
    assert "largest in mlp (300 (250 to 380)) and smallest in norm (90.0 (≥ 70.0))" in chart.finding
    assert list(chart.table["of"]) == ["whole model", "whole model, in Adam's norm", "mlp", "norm", "bias"]
    assert chart.table["tokens"][0] == 412.0 * 64
    assert len(chart.figure.data) == 4  # the bias has no number
    assert len(chart.figure.layout.shapes) == 1


def test_without_numbers_the_reason_stands() -> None:
    assert "gnoise analyze" in noise_scales(INFO, []).finding
    chart = noise_scales(INFO, [unknown(None, "b_simple", Status.TOO_FEW_DRAWS)])
    assert Status.TOO_FEW_DRAWS.advice in chart.finding


def test_layers_have_a_row_each_names_untouched() -> None:
    table = noise_scale_table(INFO, LAYERS, [*ESTIMATES, known("wte.weight", "b_adam", 9.0, 8.0, 11.0)])
    assert list(table["layer"]) == [layer.name for layer in LAYERS]
    assert HOSTILE in list(table["layer"])
    assert table["95% interval"][0] == "80.0 to 140"
    assert table["tokens"][0] == 6400.0
    assert (table["in Adam's norm"][0], table["its 95% interval"][0]) == (9.0, "8.00 to 11.0")
    assert noise_scale_table(INFO, LAYERS, [])["95% interval"][0] == "–"


def test_muons_bracket_stands_where_matrices_were_followed() -> None:
    followed, missed = known("h.0.mlp.weight", "b_muon", 9.0, 4.0, 20.0), "h.0.attn.weight"
    found = [known(None, "b_muon", 8.0, 5.0, None), followed, unknown(missed, "b_muon", Status.NOT_FOLLOWED)]
    assert "followed matrices, in Muon's norm" in list(noise_scales(INFO, [*ESTIMATES, *found]).table["of"])
    table = noise_scale_table(INFO, LAYERS, [*ESTIMATES, *found]).set_index("layer")
    assert table.loc["h.0.mlp.weight", "in Muon's norm"] == 9.0
    assert table.loc["h.0.mlp.weight", "its bracket"] == "4.00 to 20.0"
    assert table.loc[missed, "its bracket"] == "not followed"
    assert table.loc["wte.weight", "its bracket"] == "–"
    assert "in Muon's norm" not in noise_scale_table(INFO, LAYERS, ESTIMATES)
