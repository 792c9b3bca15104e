"""The router: opens the chosen run, draws the navigation, and hands the run to one page."""

from importlib import import_module
from pathlib import Path

import streamlit as st

from gnoise.errors import UserError
from gnoise.records import RunState
from gnoise.runfile import Run, open_run

# Streamlit runs this file by its path; the package it belongs to differs between a checkout and the wheel.
_PACKAGE = "gnoise._app" if Path(__file__).parent.name == "_app" else "app"
_views = import_module(f"{_PACKAGE}.views")
_elements = import_module(f"{_PACKAGE}.elements")
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
            page = st.navigation(
                [_elements.page_of(view.TITLE, view.render, run) for view in _views.VIEWS], position="top"
            )
            _state_line(run)
            page.run()
    except UserError as error:
        _refuse(str(error))


def _state_line(run: Run) -> None:
    """Say so where a run is not complete, and follow it while it grows."""
    if run.state is RunState.COMPLETE:
        return
    draws = run.draws.example_losses.shape[0]
    st.info(f"This run is {run.state}: {draws} of {run.info.draws} draws so far.")
    if run.state is RunState.COLLECTING:
        _follow(run.path, draws)


@st.fragment(run_every=_SECONDS)
def _follow(path: Path, seen: int) -> None:
    with open_run(path) as run:
        has_grown = run.draws.example_losses.shape[0] != seen or run.state is not RunState.COLLECTING
    if has_grown:
        st.rerun()


def _refuse(message: str) -> None:
    st.error("This run cannot be shown.")
    st.code(message, language=None, wrap_lines=True)


main()
