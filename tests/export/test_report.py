"""The one-file report: whole, quiet on the network, and safe with whatever a checkpoint calls its layers."""

import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gnoise.errors import UserError
from gnoise.export.report import report, write_report
from gnoise.runfile import open_run, write_findings
from tests.app.conftest import write_run
from tests.charts.records import ESTIMATES, HOSTILE, LAYERS, RECOMMENDATIONS


class _Reader(HTMLParser):
    """Collects addresses that would be fetched, tags, and the JSON inside."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.documents: list[str] = []
        self._json = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]
        self._json = ("type", "application/json") in attrs

    def handle_data(self, data: str) -> None:
        if self._json:
            self.documents.append(data)
            self._json = False


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "full.gnoise"
    write_run(path)
    write_findings(path, ESTIMATES, RECOMMENDATIONS)
    return path


def test_a_report_holds_the_first_screen_and_fetches_nothing(run_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.html"
    with open_run(run_file) as run:
        write_report(run, target)
    text = target.read_text("utf-8")
    reader = _Reader()
    reader.feed(text)
    assert reader.fetched == []
    assert "412 sequences" in text
    assert "95% interval 380 to 455" in text
    assert "@media print" in text
    told = [json.loads(each) for each in reader.documents]
    assert told[-1]["format"] == "gnoise.show"
    figures = [each for each in told if "layout" in each]
    assert len(figures) == text.count('class="plot"') > 1
    assert target.stat().st_size < 6_000_000


def test_its_first_screen_has_three_remedies_with_evidence_and_gain_and_all_others_come_later(tmp_path: Path) -> None:
    path = write_run(tmp_path / "many.gnoise")
    remedy = replace(RECOMMENDATIONS[1], gain=1.3, gain_low=1.2, gain_high=1.4)
    write_findings(path, ESTIMATES, [RECOMMENDATIONS[0], *(replace(remedy, layer=layer.name) for layer in LAYERS)])
    with open_run(path) as run:
        first, table, later = report(run, scripts=False).partition('<table class="gn-heat"')
    assert table
    assert first.count('class="card"') == 3
    assert first.count("Rests on: ") == 3
    assert first.count("Expected gain: 1.30 times the progress per step (95% interval 1.20 to 1.40)") == 3
    assert all(f"<h2>{escape(layer.name)}</h2>" in later for layer in LAYERS)
    assert "<th>noise scale</th><th>95% interval</th>" in later


def test_none_needed_is_said_on_its_first_screen(tmp_path: Path) -> None:
    path = write_run(tmp_path / "calm.gnoise")
    write_findings(path, ESTIMATES, RECOMMENDATIONS[:1])
    with open_run(path) as run:
        assert "<b>No remedy needed</b> · the whole model" in report(run, scripts=False)


def test_names_out_of_a_checkpoint_are_text_everywhere(run_file: Path) -> None:
    with open_run(run_file) as run:
        assert any(HOSTILE in layer.name for layer in run.layers)
        text = report(run)
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert HOSTILE not in markup
    assert "&lt;b&gt;*bold*&lt;/b&gt;" in markup
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL):
        assert "<" not in data
        json.loads(data)


def test_an_existing_file_is_not_replaced_unasked(run_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.html"
    target.write_text("mine")
    with open_run(run_file) as run:
        with pytest.raises(UserError, match="--force"):
            write_report(run, target)
        assert target.read_text() == "mine"
        write_report(run, target, force=True)
    assert target.read_text("utf-8").startswith("<!doctype html>")
