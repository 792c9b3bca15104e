"""What changed between this run and another of those that were handed over."""

import shlex

import pandas as pd
import streamlit as st

from gnoise.charts.changes import TITLES, change_rows, changes_headline
from gnoise.runfile import Run, open_run
from gnoise.runfile.compare import changes as changes_between

from ..elements import show_headline, show_lines
from ..runs import offered_runs

_SELECT = "other"
_ROWS = 500
_ROW, _TALLEST = 28, 560  # pixels


def render(run: Run) -> None:
    """Show what changed from this run to the one picked, the model first, then each layer's surest change."""
    others = {label: path for label, path in offered_runs().items() if path != run.path}
    if not others:
        st.info("Nothing to compare with: hand over two runs or more, in a terminal.")
        st.code(f"gnoise app {shlex.quote(str(run.path))} OTHER.gnoise", language="bash")
        return
    label = st.selectbox("From this run to", list(others), key=_SELECT, bind="query-params")
    with open_run(others[label]) as other:
        changes = changes_between(run, other)
    paired = any(each.paired for each in changes)
    about = "the same draws: compared in pairs" if paired else "different draws: compared by their intervals"
    show_headline(changes_headline(changes), f"{run.path.name} → {label} · {about}")
    table = pd.DataFrame(change_rows(changes, layers=_ROWS), columns=list(TITLES))
    st.dataframe(table, hide_index=True, row_height=_ROW, height=min(_TALLEST, (len(table) + 2) * _ROW), key="changes")
    show_lines(
        ["Of each layer its surest change, adjusted for the number of layers; every number: gnoise compare --json."]
    )
