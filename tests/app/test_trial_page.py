"""The trial page, with a trial, with one that has only begun, and without any."""

import shutil
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from gnoise.runfile import end_trial, start_trial, write_curve
from gnoise.trial_records import TrialState
from tests.stats.test_trial import simulated


def _trial_page(path: str) -> None:
    from app.views import trial
    from gnoise.runfile import open_run

    with open_run(path) as run:
        trial.render(run)


def _shown(path: Path) -> AppTest:
    test = AppTest.from_function(_trial_page, kwargs={"path": str(path)}, default_timeout=60).run()
    assert not test.exception
    return test


def test_no_trial_says_what_to_type(full_run: Path) -> None:
    assert _shown(full_run).code[0].value == f"gnoise trial {full_run} --budget 10m"


def test_a_trial_shows_its_sentence_and_every_arm(full_run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(full_run, tmp_path))
    trial = simulated(np.random.default_rng(0), worth=0.5, noise=1e-4)
    number = start_trial(path, trial.plan)
    begun = _shown(path)
    assert "not finished" in "".join(element.body for element in begun.html)
    assert len(begun.get("plotly_chart")) == 1
    for curve in trial.curves:
        write_curve(path, number, curve)
    end_trial(path, number, TrialState.COMPLETE)
    test = _shown(path)
    assert "clip saves 33." in "".join(element.body for element in test.html)
    table = next(frame.value for frame in test.dataframe if "tokens saved" in frame.value.columns)
    assert list(table["arm"])[:2] == ["no remedy", "clip"]
    assert "clip ×1.020 and ×1." in "".join(element.body for element in test.html)
    assert len(test.get("plotly_chart")) == 2
