"""The router: opens the chosen run, draws the navigation, and hands the run to one page."""

from importlib import import_module
from pathlib import Path

import streamlit as st

from gnoise.errors import UserError
from gnoise.records import RunState
from gnoise.runfile import Run, open_run
from gnoise.trial_records import TrialState

# Streamlit runs this file by its path; the package it belongs to differs between a checkout and the wheel.
_PACKAGE = "gnoise._app" if Path(__file__).parent.name == "_app" else "app"
_pages = import_module(f"{_PACKAGE}.pages")
_elements = import_module(f"{_PACKAGE}.elements")
_findings = import_module(f"{_PACKAGE}.findings")
_warm_up = import_module(f"{_PACKAGE}.warm").warm_up
_offered_runs = import_module(f"{_PACKAGE}.runs").offered_runs

_SECONDS = 5.0


def main() -> None:
    """Show one page of one run, or the one clear error."""
    st.set_page_config(page_title="gnoise", layout="wide")
    st.html(_elements.STYLE)
    runs = _offered_runs()
    if not runs:
        _refuse("expected run files, got none; try gnoise app RUN")
        return
    label = next(iter(runs))
    if len(runs) > 1:
        label = st.selectbox("Run", list(runs), key="run", bind="query-params", width=420, label_visibility="collapsed")
    try:
        with open_run(runs[label]) as run:
            page = st.navigation(_pages.pages_of(run), position="top")
            st.set_page_config(page_title=f"{page.title} · {label} · gnoise", layout="wide")
            _say_state(run)
            page.run()
            _warm_up(run.path)
    except UserError as error:
        _refuse(str(error))


def _say_state(run: Run) -> None:
    """Say so where a run is not complete, and follow it while it grows."""
    if run.state is not RunState.COMPLETE:
        draws = run.draws.example_losses.shape[0]
        st.info(f"This run is {run.state}: {draws} of {run.info.draws} draws so far.")
    if run.state is RunState.COLLECTING or any(trial.state is TrialState.RUNNING for trial in run.trials):
        _follow(run.path, _findings.stamp(run.path))


@st.fragment(run_every=_SECONDS)
def _follow(path: Path, seen: tuple[tuple[int, int], ...]) -> None:
    """Draw everything anew once the file has changed."""
    if _findings.stamp(path) != seen:
        st.rerun()


def _refuse(message: str) -> None:
    st.error("This run cannot be shown.")
    st.code(message, language=None, wrap_lines=True)


main()
