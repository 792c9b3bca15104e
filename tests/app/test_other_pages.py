"""Pages that set runs side by side, or tell about one."""

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.runs import VARIABLE


def _compare_page(path: str) -> None:
    from app.views import compare
    from gnoise.runfile import open_run

    with open_run(path) as run:
        compare.render(run)


def _about_page(path: str) -> None:
    from app.views import about
    from gnoise.runfile import open_run

    with open_run(path) as run:
        about.render(run)


def test_one_run_has_nothing_to_compare_with(full_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f'["{full_run}"]')
    test = AppTest.from_function(_compare_page, kwargs={"path": str(full_run)}, default_timeout=60).run()
    assert not test.exception
    assert test.code[0].value == f"gnoise app {full_run} OTHER.gnoise"


def test_two_runs_are_set_side_by_side(full_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path(shutil.copy(full_run, tmp_path / "other.gnoise"))
    monkeypatch.setenv(VARIABLE, f'["{full_run}", "{other}"]')
    test = AppTest.from_function(_compare_page, kwargs={"path": str(full_run)}, default_timeout=60).run()
    assert not test.exception
    assert "Nothing surely changed" in "".join(element.body for element in test.html)
    assert "other.gnoise" in test.selectbox[0].options


def test_about_tells_the_command_and_all_the_rest(full_run: Path) -> None:
    test = AppTest.from_function(_about_page, kwargs={"path": str(full_run)}, default_timeout=60).run()
    assert not test.exception
    assert test.code[0].value.startswith("gnoise profile")
    told = dict(test.dataframe[0].value.itertuples(index=False, name=None))
    assert {"checkpoint sha256", "data", "seed", "versions", "state"} <= told.keys()
    assert "optimizer" in told["judged under"]
