"""The noise-scale page on runs that tell how long they were trained, that do not, and that have no findings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from gnoise.records import RunInfo
from gnoise.runfile import RunWriter, write_findings
from tests.app.conftest import write_blocks
from tests.charts.records import ESTIMATES, INFO, LAYERS, RECOMMENDATIONS, known

SCALES = ((100, 40.0, 20.0), (400, 60.0, 30.0), (900, 80.0, 40.0))


def _page(path: str) -> None:
    from app.views import noise_scale
    from gnoise.runfile import open_run

    with open_run(path) as run:
        noise_scale.render(run)


def _open(path: Path) -> AppTest:
    return AppTest.from_function(_page, kwargs={"path": str(path)}, default_timeout=30).run()


def _html(test: AppTest) -> str:
    return "".join(element.body for element in test.html)


def _write(path: Path, info: RunInfo, total: float, norm: float) -> Path:
    with RunWriter(path, info=info, layers=LAYERS) as writer:
        write_blocks(writer, range(1))
    scales = [
        known(None, "b_simple", total, 0.9 * total, 1.1 * total),
        known(None, "b_simple_norm", norm, norm, norm),
        known(None, "spike_ratio", 1.6, 1.4, 1.9, note="draw 12"),
    ]
    write_findings(path, [*scales, *ESTIMATES[2:]], RECOMMENDATIONS)
    return path


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three moments of one training, handed over with a file that is no run."""
    paths = [
        _write(
            tmp_path / f"at-{step}.gnoise",
            replace(INFO, checkpoint_sha256=str(step), optimizer={**INFO.optimizer, "iteration": step}),
            total,
            norm,
        )
        for step, total, norm in SCALES
    ]
    (tmp_path / "notes.gnoise").write_text("not a run")
    monkeypatch.setenv("GNOISE_APP_RUNS", json.dumps([str(path) for path in [*paths, tmp_path / "notes.gnoise"]]))
    return paths


def test_moments_of_one_training_are_found_and_give_a_schedule(training: list[Path]) -> None:
    test = _open(training[1])
    assert not test.exception
    shown = _html(test)
    assert "not the measured critical batch" in shown
    assert "Over 3 moments the noise scale went from 40.0 (36.0 to 44.0) to 80.0 (72.0 to 88.0) sequences" in shown
    assert "r = 1.000" in shown
    test.number_input[1].set_value(70).run()
    assert (
        "32 sequences at 0 tokens, then 40 sequences at 204,800 tokens, then 60 sequences at 819,200 tokens, "
        "then 70 sequences at 1,843,200 tokens, straight lines between"
    ) in _html(test)
    assert test.download_button[0].label == "Download schedule.json"


def test_an_untrained_checkpoint_and_one_profiled_twice_are_moments_too(
    training: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = replace(INFO, checkpoint_sha256="start", optimizer={**INFO.optimizer, "iteration": 0})
    first = _write(training[0].with_name("start.gnoise"), start, 34.0, 17.0)
    again = training[2].with_name("again.gnoise")
    again.write_bytes(training[2].read_bytes())
    monkeypatch.setenv("GNOISE_APP_RUNS", json.dumps([str(path) for path in [first, *training, again]]))
    for opened in (first, training[0]):
        test = _open(opened)
        assert not test.exception
        assert "32 sequences at 0 tokens" in _html(test) or "34 sequences at 0 tokens" in _html(test)
        assert "80 sequences at 1,843,200 tokens" in _html(test)


def test_a_run_that_does_not_tell_its_length_has_costs_and_no_schedule(full_run: Path) -> None:
    test = _open(full_run)
    assert not test.exception
    costs = next(each.value for each in test.dataframe if "learning rate, Adam" in each.value.columns)
    assert list(costs["sequences"]) == ["16.0", "32.0", "64.0", "128", "256"]
    assert "how long the checkpoint was trained" in _html(test)
    assert not test.download_button


def test_without_estimates_it_says_what_to_type(bare_run: Path) -> None:
    test = _open(bare_run)
    assert not test.exception
    assert "run gnoise analyze" in _html(test)
