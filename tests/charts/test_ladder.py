"""The ladder says which remedy pays, or that none does, and draws what it says."""

from dataclasses import replace

import pytest

from gnoise.charts.ladder import ladder, ladder_line, ladder_sentence, ladder_table
from gnoise.records import Evidence, EvidenceRole, Status
from tests.charts.records import INFO

CLIP = Evidence(
    "h.0", "clip", "clip at 2 √v", {"coordinates": 2.0}, EvidenceRole.REMEDY, 1.31, 1.22, 1.40, 0.99, 1.9, 1.5, None,
    1e-4, 64, Status.OK, 1e-3, 0.24, 0.03, 0.4,
)  # fmt: skip
NORM = replace(
    CLIP, remedy="clip_norm", setting="2 median ‖g‖", gain=1.0, low=0.99, high=1.01, bias_floor=None, batch=None
)
BATCH = replace(CLIP, remedy="batch", setting="× 2", params={"times": 2.0}, role=EvidenceRole.SETTING, gain=1.4)
LADDER = (replace(CLIP, role=EvidenceRole.BEST), NORM, CLIP, BATCH)


def test_what_pays_is_said_drawn_and_tabled() -> None:
    chart = ladder(LADDER, layer="h.0")
    assert chart.finding == (
        "clip (clip at 2 √v) pays: 1.31 times the progress per step (95% interval 1.22 to 1.40), as much as 1.9 times "
        "the batch; +24% of tokens saved (+3% to +40% if as far off as trials found)."
    )
    gains, floors = chart.figure.data[:2]
    assert list(gains.y) == ["clip", "clip_norm"]
    assert list(gains.x) == [1.31, 1.0]
    assert gains.error_x.array[0] == pytest.approx(0.09)
    assert list(gains.marker.symbol) == ["diamond", "circle"]
    assert list(floors.x) == [0.99]
    assert [line.x0 for line in chart.figure.layout.shapes] == [1.0, 1.4]
    assert list(chart.table["remedy"]) == ["clip", "clip_norm", "batch"]


def test_none_is_an_answer() -> None:
    little = {"gain": 1.004, "low": 0.996, "high": 1.012} | {"tokens_saved": 0.004, "tokens_saved_low": -0.3}
    small = tuple(replace(e, **little) if e.remedy == "clip" else e for e in LADDER)
    assert ladder_sentence(small, layer="h.0") == (
        "Nothing pays: the best, clip, buys 1.00 times the progress per step (95% interval 1.00 to 1.01); 0% of tokens "
        "saved (-30% to +40% if as far off as trials found). Twice the batch would buy 1.40 times."
    )
    unsure = tuple(replace(e, low=0.9) if e.remedy == "clip" else e for e in LADDER)
    assert ladder_sentence(unsure, layer="h.0").startswith("Nothing surely pays")


def test_the_model_has_one_line() -> None:
    whole = [replace(each, layer=None) for each in LADDER]
    said = "×1.31 progress a step (1.22 to 1.40), +24% of tokens saved"
    trials = "if as far off as trials found)"
    assert ladder_line(whole) == f"whole model: clip (clip at 2 √v) pays, {said} (+3% to +40% {trials}"
    unsure = [replace(e, tokens_saved_low=-0.1) if e.remedy == "clip" else e for e in whole]
    assert ladder_line(unsure) == (
        f"whole model: no remedy surely pays; best clip, {said} (-10% to +40% {trials}, twice the batch ×1.40"
    )
    before = [replace(e, tokens_saved=None, tokens_saved_low=None) for e in whole]
    assert ladder_line(before).startswith("whole model: no remedy surely pays; best clip, ×1.31 progress a step (1.22")
    assert ladder_line([replace(whole[0], gain=None, low=None, high=None, status=Status.ALL_ZERO)]) == ""
    assert ladder_line(LADDER) == ""


def test_learning_rates_that_pay_are_said_where_nothing_else_does() -> None:
    rates = replace(NORM, remedy="layerwise_lr", setting="0.5 times", gain=1.05, low=1.03, high=1.07)
    small = [replace(e, gain=1.004, low=0.996, high=1.012) if e.remedy == "clip" else e for e in LADDER]
    assert ladder_sentence([*small, rates], layer="h.0").startswith(
        "layerwise_lr (0.5 times) pays: 1.05 times the whole model's progress per step (95% interval 1.03 to 1.07)"
    )
    assert ladder_sentence([*LADDER, rates], layer="h.0").startswith("clip (clip at 2 √v) pays")
    too_little = [replace(e, layer=None) for e in (*small, replace(rates, gain=1.01, low=1.004, high=1.015))]
    assert "the best, layerwise_lr, buys 1.01 times the progress" in ladder_sentence(too_little, layer=None)
    assert "best layerwise_lr, ×1.01" in ladder_line(too_little)


def test_another_optimizer_than_the_checkpoints_is_said_beside_every_gain() -> None:
    own, muon = (
        replace(INFO, optimizer={"name": "AdamW"}),
        "judged under Muon (momentum 0.95), not the checkpoint's AdamW",
    )
    other, silent = replace(own, judged_under="muon"), replace(own, optimizer={})
    whole = [replace(each, layer=None) for each in LADDER]
    small = [replace(e, gain=1.0, low=0.99, high=1.01) if e.remedy == "clip" else e for e in whole]
    for gains in (whole, small):
        assert muon in ladder_line(gains, info=other)
        assert muon in ladder(gains, layer=None, info=other).finding
        assert "under" not in ladder_line(gains, info=own) + ladder_sentence(gains, layer=None, info=own)
        assert "as the checkpoint names no optimizer" in ladder_sentence(gains, layer=None, info=silent)


def test_what_was_not_judged_says_why() -> None:
    nothing = replace(CLIP, role=EvidenceRole.BEST, gain=None, low=None, high=None, status=Status.ALL_ZERO)
    chart = ladder([nothing], layer="h.0")
    assert Status.ALL_ZERO.advice in chart.finding
    assert not chart.figure.data
    assert "gnoise analyze" in ladder(LADDER, layer=None).finding


def test_the_table_has_a_row_a_remedy_and_the_ruler() -> None:
    assert ladder_table(LADDER, layer="h.0") == [
        ("clip", "clip at 2 √v", "1.310 (1.220 to 1.400)", "0.990", "× 1.90"),
        ("clip_norm", "2 median ‖g‖", "1.000 (0.990 to 1.010)", "–", "–"),
        ("a larger batch", "× 2", "1.400 (1.220 to 1.400)", "–", "× 1.90"),
    ]


def test_a_gain_without_an_upper_end_is_at_least_its_lower_one() -> None:
    bound = [replace(e, high=None, tokens_saved_high=None, status=Status.AT_LEAST) for e in LADDER]
    assert ladder_sentence(bound, layer="h.0").startswith(
        "clip (clip at 2 √v) pays: 1.31 times the progress per step (at least 1.22)"
    )
    assert "+24% of tokens saved (at least +3% if as far off as trials found)" in ladder_sentence(bound, layer="h.0")
    assert "(at least 1.22)" in ladder_line([replace(each, layer=None) for each in bound])
    assert ladder_table(bound, layer="h.0")[0][2] == "1.310 (at least 1.220)"
    chart = ladder(bound, layer="h.0")
    assert list(chart.figure.data[0].error_x.array) == [0.0, 0.0]
    little = [replace(e, gain=1.0, low=0.99) if e.remedy == "clip" else e for e in bound]
    assert ladder_sentence(little, layer="h.0").startswith("Nothing surely pays")
