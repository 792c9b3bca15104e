"""Every page on every kind of run."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.runs import VARIABLE
from app.views import VIEWS
from gnoise.records import RunState
from gnoise.runfile import open_run
from gnoise.runfile.upgrade import FORMAT
from tests.app.conftest import open_view, write_generated, write_run
from tests.charts.records import HOSTILE


def _html(test: AppTest) -> str:
    return "".join(element.body for element in test.html)


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generated(tmp_path_factory.mktemp("large") / "large.gnoise", layers=500)


@pytest.fixture(scope="module")
def half_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("half") / "half.gnoise", blocks=1, state=RunState.INTERRUPTED)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", ["full_run", "bare_run", "half_run", "large_run"])
def test_every_page_draws_every_run_without_writing(
    kind: str, view: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = request.getfixturevalue(kind)
    monkeypatch.setenv(VARIABLE, f'["{path}"]')
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    test = open_view(path, view)
    assert [*test.html, *test.dataframe, *test.info, *test.code]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert list(path.parent.glob(f"{path.name}-*")) == []


def test_a_reader_cannot_write(full_run: Path) -> None:
    with open_run(full_run) as run, pytest.raises(sqlite3.OperationalError, match="readonly"):
        run._connection.execute("DELETE FROM estimate")


@pytest.mark.parametrize("view", ["Tail", "Quantiles", "Averaging", "Rows", "Spectrum", "Remedies"])
def test_a_deep_link_opens_a_layer_at_its_picture(large_run: Path, view: str) -> None:
    test = open_view(large_run, "layers", layer="transformer.h.3.mlp.c_fc.weight", view=view)
    assert test.selectbox(key="layer").value == "transformer.h.3.mlp.c_fc.weight"
    assert [chart.proto.id.split("-")[-1] for chart in test.get("plotly_chart")] == [view.lower()]


def test_a_newer_run_is_refused_with_both_formats(open_app, full_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "newer.gnoise"
    path.write_bytes(full_run.read_bytes())
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.commit()
    connection.close()
    test = open_app(path)
    assert [error.value for error in test.error] == ["This run cannot be shown."]
    assert f"format {FORMAT} or older" in test.code[0].value
    assert f"is format {FORMAT + 1}" in test.code[0].value


def test_names_are_text_on_every_page(full_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f'["{full_run}"]')
    for view in VIEWS:
        test = open_view(full_run, view)
        assert HOSTILE not in _html(test)
        assert not any("bold" in element.value for element in [*test.markdown, *test.caption, *test.info])
