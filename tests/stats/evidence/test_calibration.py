"""Tokens saved follow from a gain; their interval is never shorter than what trials showed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gnoise.records import Evidence, EvidenceRole, Status
from gnoise.stats.evidence import BATCH, LAYERWISE_LR, MARGINS, calibrated

ROW = Evidence(
    None, "clip", "clip at 2 √v", {}, EvidenceRole.REMEDY, 1.25, 1.2, 1.3, 1.0, None, None, None, 1e-4, 64, Status.OK
)  # fmt: skip


def _ends(row: Evidence) -> tuple[float, float]:
    """Take the calibrated interval back to the logarithm of a gain."""
    assert row.tokens_saved_low is not None
    assert row.tokens_saved_high is not None
    return -math.log(1.0 - row.tokens_saved_low), -math.log(1.0 - row.tokens_saved_high)


RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "calibration_margin.json"


def test_margins_are_what_the_benchmark_found_rounded_up() -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))["margins"]
    for (along_path, of_rate), margin in MARGINS.items():
        kind = "one layer's rate" if of_rate else "gradients"
        name = f"{'path' if along_path else 'frozen'}, {kind}"
        assert margin == pytest.approx(math.ceil(100.0 * found[name]["margin"]) / 100.0)


@pytest.mark.parametrize("along_path", [False, True])
@pytest.mark.parametrize("remedy", ["clip", "stabilize", LAYERWISE_LR])
def test_ends_lie_out_by_sampling_and_margin_together(remedy: str, along_path: bool) -> None:
    row = calibrated(replace(ROW, remedy=remedy), along_path=along_path)
    assert row.tokens_saved == pytest.approx(0.2)
    margin, (low, high) = MARGINS[along_path, remedy == LAYERWISE_LR], _ends(row)
    assert math.log(1.25) - low == pytest.approx(math.hypot(math.log(1.25 / 1.2), margin))
    assert high - math.log(1.25) == pytest.approx(math.hypot(math.log(1.3 / 1.25), margin))
    assert replace(row, tokens_saved=None, tokens_saved_low=None, tokens_saved_high=None).gain == ROW.gain


def test_what_only_seems_to_pay_is_not_sure_and_what_pays_a_half_is() -> None:
    small = calibrated(replace(ROW, gain=1.06, low=1.05, high=1.07), along_path=False)
    assert small.tokens_saved_low is not None
    assert small.tokens_saved_low < 0.0
    large = calibrated(replace(ROW, gain=1.56, low=1.43, high=1.70), along_path=False)
    assert large.tokens_saved_low is not None
    assert large.tokens_saved_low > 0.1


@pytest.mark.parametrize("row", [replace(ROW, remedy=BATCH), replace(ROW, gain=None, low=None, high=None)])
def test_a_larger_batch_and_no_gain_have_no_saving(row: Evidence) -> None:
    assert calibrated(row, along_path=False) == row


def test_a_gain_without_an_upper_end_has_a_saving_without_one() -> None:
    both = calibrated(ROW, along_path=False)
    bound = calibrated(replace(ROW, high=None, status=Status.AT_LEAST), along_path=False)
    assert bound == replace(both, high=None, status=Status.AT_LEAST, tokens_saved_high=None)
