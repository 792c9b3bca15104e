"""Every page on every kind of run, with the numbers that `gnoise show --json` has."""

import hashlib
import importlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.runs import VARIABLE
from app.views import VIEWS
from gnoise.charts.phrases import number
from gnoise.export import show_document, to_json
from gnoise.records import RunState
from gnoise.runfile import Run, open_run
from gnoise.runfile.upgrade import FORMAT
from tests.app.conftest import write_run
from tests.charts.records import HOSTILE, LAYERS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _page(path: str, view: str) -> None:
    from importlib import import_module

    from gnoise.runfile import open_run

    with open_run(path) as run:
        import_module(f"app.views.{view}").render(run)


def _open(path: Path, page: str, **query: str) -> AppTest:
    test = AppTest.from_function(_page, kwargs={"path": str(path), "view": page}, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


def _told(run: Run) -> dict[str, Any]:
    """Read what ``gnoise show --json`` prints."""
    return json.loads(to_json(show_document(run)))


def _html(test: AppTest) -> str:
    return "".join(element.body for element in test.html)


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        generator = importlib.import_module("large_run")
        yield generator.write_large_run(tmp_path_factory.mktemp("large") / "large.gnoise", layers=500, draws=64)


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
    test = _open(path, view)
    assert [*test.html, *test.dataframe, *test.info, *test.code]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert list(path.parent.glob(f"{path.name}-*")) == []


def test_a_reader_cannot_write(full_run: Path) -> None:
    with open_run(full_run) as run, pytest.raises(sqlite3.OperationalError, match="readonly"):
        run._connection.execute("DELETE FROM estimate")


@pytest.mark.parametrize("view", ["Tail", "Quantiles", "Averaging", "Rows", "Spectrum", "Remedies"])
def test_a_deep_link_opens_a_layer_at_its_picture(large_run: Path, view: str) -> None:
    test = _open(large_run, "layers", layer="transformer.h.3.mlp.c_fc.weight", view=view)
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


def test_the_layer_table_has_the_numbers_of_show(full_run: Path) -> None:
    with open_run(full_run) as run:
        told = {layer["name"]: layer for layer in _told(run)["layers"]}
    table = _open(full_run, "layers").dataframe[0].value.set_index("layer")
    for name, layer in told.items():
        for estimate in layer["estimates"]:
            if estimate["quantity"] in table.columns and estimate["value"] is not None:
                assert table.loc[name, estimate["quantity"]] == estimate["value"]


@pytest.mark.parametrize("layer", [layer.name for layer in LAYERS])
def test_a_layers_numbers_are_those_of_show(full_run: Path, layer: str) -> None:
    with open_run(full_run) as run:
        told = next(each for each in _told(run)["layers"] if each["name"] == layer)["estimates"]
    table = _open(full_run, "layers", layer=layer).dataframe[-1].value
    assert len(table) == len(told)
    for (_, row), estimate in zip(table.iterrows(), told, strict=True):
        assert row["n"] == estimate["n"]
        assert row["value"] == ("–" if estimate["value"] is None else number(estimate["value"]))
        if estimate["low"] is not None and estimate["high"] is not None:
            assert row["95% interval"] == f"{number(estimate['low'])} to {number(estimate['high'])}"


def test_the_tiles_have_the_numbers_of_show(full_run: Path) -> None:
    with open_run(full_run) as run:
        told = {each["quantity"]: each for each in _told(run)["model"]["estimates"]}
    shown = _html(_open(full_run, "overview"))
    assert f"{number(told['b_simple']['value'])} sequences" in shown
    assert f"{number(told['spike_ratio']['value'])} ×" in shown


def test_names_are_text_on_every_page(full_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f'["{full_run}"]')
    for view in VIEWS:
        test = _open(full_run, view)
        assert HOSTILE not in _html(test)
        assert not any("bold" in element.value for element in [*test.markdown, *test.caption, *test.info])
