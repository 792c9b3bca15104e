"""Every number on a page is the one that ``gnoise show --json`` prints, rounded."""

import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from gnoise.export import show_document, to_json
from gnoise.quantities import KIND_QUANTITIES, QUANTITIES, SHARE
from gnoise.runfile import open_run
from tests.app.conftest import check, open_view, write_generated

LAYERS = 26
ENDS = ("value", "low", "high")
GAINS = ("gain", "low", "high")
RECOMMENDED = ("gain", "gain_low", "gain_high")
RUNG = {
    "gain": "gain",
    "low": "low",
    "high": "high",
    "bias_floor": "bias_floor",
    "as_a_batch_times": "batch",
    "p_value": "p_value",
    "q_value": "q_value",
}
"""Column of a ladder's table to its name in JSON."""
TREATED, CALM = "transformer.wte.weight", "transformer.h.0.ln_1.weight"
LOOKED_AT = ("draw_norm", "clip_rate", "spike_ratio", "example_spike_ratio", "quiet_example_share")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated(tmp_path_factory.mktemp("numbers") / "numbers.gnoise", layers=LAYERS)


@pytest.fixture(scope="module")
def told(run: Path) -> dict[str, Any]:
    """What ``gnoise show --json`` prints."""
    with open_run(run) as opened:
        return json.loads(to_json(show_document(opened)))


def layer_of(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next(layer for layer in told["layers"] if layer["name"] == name)


def by_quantity(estimates: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["quantity"]: each for each in estimates}


def check_card(test: AppTest, recommendation: Mapping[str, Any], place: int) -> None:
    """Hold what a card rests on and the gain it expects against the recommendation."""
    card = unescape([element.body for element in test.html if "gn-card" in element.body][place])
    rests_on = card.partition("Rests on: ")[2].partition("</span>")[0]
    assert len(rests_on.split("; ")) == len(recommendation["because"])
    for text, estimate in zip(rests_on.split("; "), recommendation["because"], strict=True):
        check(_after_name(text, estimate), _ends(estimate))
    if recommendation["remedy"] != "none":
        gain = card.partition("Expected gain: ")[2].replace("95% interval", "")
        check(gain, [recommendation[name] for name in RECOMMENDED])


def _after_name(text: str, estimate: Mapping[str, Any]) -> str:
    """Cut a quantity's own name off, which may have digits in it."""
    known = QUANTITIES[estimate["quantity"]]
    return text.removeprefix(known.words).removeprefix(f" ({known.symbol})")


def _ends(estimate: Mapping[str, Any]) -> list[float]:
    times = 100.0 if QUANTITIES[estimate["quantity"]].unit == SHARE else 1.0
    return [times * estimate[end] for end in ENDS]


def test_the_table_of_layers(run: Path, told: dict[str, Any]) -> None:
    table = open_view(run, "layers").dataframe[0].value.set_index("layer")
    assert len(table) == LAYERS
    for layer in told["layers"]:
        row = table.loc[layer["name"]]
        for quantity, estimate in by_quantity(layer["estimates"]).items():
            if quantity in table.columns and estimate["value"] is None:
                assert pd.isna(row[quantity])
            elif quantity in table.columns:
                assert row[quantity] == estimate["value"]
        scale = by_quantity(layer["estimates"])["b_simple"]
        if scale["value"] is not None:
            check(row["b_simple_interval"], [scale["low"], scale["high"]])


@pytest.mark.parametrize("layer", [TREATED, CALM])
def test_a_layers_estimates_and_card(run: Path, told: dict[str, Any], layer: str) -> None:
    test = open_view(run, "layers", layer=layer)
    own, table = layer_of(told, layer), test.dataframe[-1].value
    assert len(table) == len(own["estimates"])
    for (_, row), estimate in zip(table.iterrows(), own["estimates"], strict=True):
        assert row["n"] == estimate["n"]
        if estimate["value"] is None:
            assert row["value"] == "–"
        else:
            check(row["value"], [estimate["value"]])
            check(row["95% interval"], [estimate["low"], estimate["high"]])
    check_card(test, own["recommendation"], 0)


@pytest.mark.parametrize(
    ("view", "asked", "query", "layer"),
    [
        ("layers", "remedies", {"layer": TREATED, "view": "Remedies"}, TREATED),
        ("remedies", "ladder-chart", {"ladder": CALM}, CALM),
        ("remedies", "ladder-chart", {}, None),
    ],
)
def test_a_ladder(
    run: Path, told: dict[str, Any], view: str, asked: str, query: dict[str, str], layer: str | None
) -> None:
    test = open_view(run, view, asked=asked, **query)
    evidence = (told["model"] if layer is None else layer_of(told, layer))["evidence"]
    rungs = {each["remedy"]: each for each in evidence if each["role"] == "remedy" or each["remedy"] == "batch"}
    table = next(frame.value for frame in test.dataframe if "bias_floor" in frame.value.columns)
    assert set(table["remedy"]) == set(rungs)
    for row in table.to_dict("records"):
        for column, name in RUNG.items():
            number = rungs[row["remedy"]][name]
            assert row[column] == number or (number is None and pd.isna(row[column]))
    best = next(each for each in evidence if each["role"] == "best")
    finding = next(element.body for element in test.html if "gn-finding" in element.body)
    check(finding.replace("95% interval", "").partition(", as much")[0], [best[name] for name in GAINS])


def test_the_remedies_cards(run: Path, told: dict[str, Any]) -> None:
    check_card(open_view(run, "remedies"), told["model"]["recommendations"][0], 0)
    check_card(open_view(run, "remedies", ladder=TREATED), layer_of(told, TREATED)["recommendation"], 0)


def test_the_tiles_and_cards_of_the_first_screen(run: Path, told: dict[str, Any]) -> None:
    test = open_view(run, "overview")
    of_model = by_quantity(told["model"]["estimates"])
    of_layers = [by_quantity(layer["estimates"]) for layer in told["layers"]]
    tails = [each["alpha_draws"] for each in of_layers if each["alpha_draws"]["value"] is not None]
    slopes = [each["averaging_slope"] for each in of_layers if each["averaging_slope"]["value"] is not None]
    expected = (
        of_model["b_simple"],
        min(tails, key=lambda each: each["value"]),
        max(slopes, key=lambda each: each["value"]),
        of_model["spike_ratio"],
    )
    body = next(element.body for element in test.html if "gn-tiles" in element.body)
    tiles = body.split('<div class="gn-tile">')[1:]
    for tile, estimate in zip(tiles, expected, strict=True):
        value, _, detail = tile.partition('<div class="gn-value">')[2].partition("</div>")
        check(value, [estimate["value"]])
        check(detail.partition("95% interval ")[2].partition(" · ")[0], [estimate["low"], estimate["high"]])
    treated = [each for each in told["layers"] if each["recommendation"]["remedy"] != "none"]
    assert len(treated) == 3
    for place, layer in enumerate(treated):
        check_card(test, layer["recommendation"], place)


def test_the_noise_scales_of_kinds_and_layers(run: Path, told: dict[str, Any]) -> None:
    test = open_view(run, "noise_scale", asked="noise-scales")
    of_model = by_quantity(told["model"]["estimates"])
    kinds = next(frame.value for frame in test.dataframe if "of" in frame.value.columns).set_index("of")
    for kind, quantity in KIND_QUANTITIES.items():
        assert kinds.loc[kind, "sequences"] == of_model[quantity]["value"]
        check(kinds.loc[kind, "95% interval"], [of_model[quantity]["low"], of_model[quantity]["high"]])
    layers = next(frame.value for frame in test.dataframe if "in Adam's norm" in frame.value.columns).set_index("layer")
    assert len(layers) == LAYERS
    for layer in told["layers"]:
        row, own = layers.loc[layer["name"]], by_quantity(layer["estimates"])
        for quantity, value, ends in (
            ("b_simple", "sequences", "95% interval"),
            ("b_adam", "in Adam's norm", "its 95% interval"),
        ):
            if own[quantity]["value"] is None:
                assert pd.isna(row[value])
            else:
                assert row[value] == own[quantity]["value"]
                check(row[ends], [own[quantity]["low"], own[quantity]["high"]])


def test_what_another_batch_buys(run: Path, told: dict[str, Any]) -> None:
    table = next(frame.value for frame in open_view(run, "noise_scale").dataframe if "steps" in frame.value.columns)
    columns = {
        "steps": "steps",
        "sequences in all": "examples",
        "learning rate, SGD": "learning_rate_sgd",
        "learning rate, Adam": "learning_rate_adam",
    }
    for row, batch in zip(table.to_dict("records"), told["model"]["batch_cost"]["batches"], strict=True):
        check(row["sequences"], [batch["examples_in_batch"]])
        for shown, name in columns.items():
            ends = [batch[name][end] for end in ENDS]
            check(row[shown], ends if "(" in row[shown] else ends[:1])


def test_the_norms(run: Path, told: dict[str, Any]) -> None:
    of_model = by_quantity(told["model"]["estimates"])
    shown = next(element.body for element in open_view(run, "norms").html if "gn-lines" in element.body)
    lines = re.findall(r"<p>(.*?)</p>", shown)
    assert len(lines) == len(LOOKED_AT)
    for line, quantity in zip(lines, LOOKED_AT, strict=True):
        check(line.partition(": ")[2].replace("95% interval", ""), _ends(of_model[quantity]))
