"""The heat map, the reasons, trials, comparisons and what was run: the numbers that ``--json`` prints, rounded."""

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnoise.charts.heat_map import COLUMNS
from gnoise.cli import main
from gnoise.quantities import QUANTITIES, SHARE
from gnoise.runfile import end_trial, start_trial, write_curve
from gnoise.trial_records import TrialState
from tests.app.conftest import check, open_view, write_generated
from tests.stats.test_trial import simulated

LAYERS = 12
ENDS = ("value", "low", "high")


Printed = Callable[..., dict[str, Any]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Call a command with ``--json``, and read what it prints."""

    def call(*words: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["gnoise", *map(str, words), "--json"])
        capsys.readouterr()
        with suppress(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a trial of three arms."""
    path = write_generated(tmp_path_factory.mktemp("numbers") / "numbers.gnoise", layers=LAYERS)
    trial = simulated(np.random.default_rng(0), worth=0.5, noise=1e-3)
    number = start_trial(path, trial.plan)
    for curve in trial.curves:
        write_curve(path, number, curve)
    end_trial(path, number, TrialState.COMPLETE)
    return path


def test_the_heat_map(run: Path, printed: Printed) -> None:
    told = {layer["name"]: layer["estimates"] for layer in printed("show", run)["layers"]}
    html = next(element.body for element in open_view(run, "overview").html if "gn-heat" in element.body)
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2], re.DOTALL)
    assert len(rows) == LAYERS
    for row in rows:
        name = re.findall(r'title="([^"]*)"', row)[0]
        found = {each["quantity"]: each for each in told[name]}
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        for quantity, cell in zip(COLUMNS, cells, strict=True):
            estimate = found.get(quantity)
            if estimate is None:
                assert cell == ""
            elif estimate["value"] is not None:
                check(cell.removeprefix("▲ "), [estimate["value"]])


def test_the_reasons(run: Path, printed: Printed) -> None:
    told = {each["quantity"]: each for each in printed("show", run)["model"]["estimates"]}
    body = next(element.body for element in open_view(run, "overview").html if "gn-lines" in element.body)
    checked = 0
    for line in re.findall(r"<p>(.*?)</p>", body):
        for estimate in told.values():
            known = QUANTITIES[estimate["quantity"]]
            name = f"{known.words} ({known.symbol}): " if known.symbol else f"{known.words}: "
            if line.startswith(name) and estimate["value"] is not None:
                times = 100.0 if known.unit == SHARE else 1.0
                value, _, ends = line.removeprefix(name).partition("95% interval ")
                check(value.partition(" = ")[0].partition(",")[0], [times * estimate["value"]])
                check(ends.partition(" — ")[0].partition(";")[0], [times * estimate[end] for end in ENDS[1:]])
                checked += 1
    assert checked >= 3


def test_a_trial(run: Path, printed: Printed) -> None:
    told = {arm["arm"]: arm for arm in printed("show", run)["trials"][0]["arms"]}
    test = open_view(run, "trial", asked="trial-curves")
    table = next(frame.value for frame in test.dataframe if "tokens saved" in frame.value.columns)
    assert len(table) == len(told)
    for row, arm in zip(table.to_dict("records"), told.values(), strict=True):
        check(row["loss"], [arm["loss"]])
        if row["tokens saved"] != "–":
            check(row["tokens saved"], [100.0 * arm[name] for name in ("tokens_saved", "low", "high")])
        if row["less none's (95% interval)"] != "–":
            check(row["less none's (95% interval)"], [arm[name] for name in DIFFERENCES])
    headline = next(element.body for element in test.html if "gn-headline" in element.body)
    clip = told["clip"]
    told_ends = [100.0 * clip[name] for name in ("tokens_saved", "low", "high")]
    check(headline.partition("paired seeds")[0].replace("95% interval", "").rpartition(",")[0], told_ends)


DIFFERENCES = ("difference", "difference_low", "difference_high")


def test_a_comparison(run: Path, printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path(shutil.copy(run, tmp_path / "other.gnoise"))
    with sqlite3.connect(other) as connection:
        changed = connection.execute("UPDATE estimate SET value = value * 2, low = low * 2, high = high * 2").rowcount
    assert changed
    monkeypatch.setenv("GNOISE_APP_RUNS", json.dumps([str(run), str(other)]))
    changes = printed("compare", run, other)["pairs"][0]["changes"]
    told = {(each["layer"] or "the whole model", each["quantity"]): each for each in changes}
    words = {known.words: name for name, known in QUANTITIES.items()} | {"mean loss": "loss"}
    table = open_view(run, "compare").dataframe[0].value
    assert len(table) > 3
    for row in table.to_dict("records"):
        each = told[row["layer"], words[row["quantity"]]]
        check(row["first"], [each["first"]])
        check(row["second"], [each["second"]])
        known = QUANTITIES.get(each["quantity"])
        times = 100.0 if known is not None and known.unit == SHARE and not each["ratio"] else 1.0
        ends = [each[name] for name in ("change", "low", "high") if each[name] is not None]
        check(row["change (95% interval)"].removeprefix("× "), [times * end for end in ends])


def test_what_was_run(run: Path, printed: Printed) -> None:
    told = printed("show", run)["run"]
    shown = open_view(run, "about").dataframe[0].value.set_index("what")["value"]
    counted = [name for name, value in told.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    assert {"draws", "examples_per_draw", "seed"} <= set(counted)
    for name in counted:
        if name.replace("_", " ") in shown:
            assert float(shown[name.replace("_", " ")]) == told[name]
