"""The trial page, with a trial, with one that has only begun, and without any."""

from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from gnoise.records import TrialState
from gnoise.runfile import end_trial, start_trial, write_curve
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


def test_a_trial_shows_its_sentence_and_every_arm(full_run: Path) -> None:
    trial = simulated(np.random.default_rng(0), worth=0.5, noise=1e-4)
    number = start_trial(full_run, trial.plan)
    begun = _shown(full_run)
    assert "not finished" in "".join(element.body for element in begun.html)
    for curve in trial.curves:
        write_curve(full_run, number, curve)
    end_trial(full_run, number, TrialState.COMPLETE)
    test = _shown(full_run)
    assert "clip saves 33." in "".join(element.body for element in test.html)
    table = next(frame.value for frame in test.dataframe if "tokens saved" in frame.value.columns)
    assert list(table["arm"])[:2] == ["no remedy", "clip"]
