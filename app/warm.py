"""What later pages need and takes a second to make or to fetch, made ready while the first one is being read."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Timer

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gnoise.errors import UserError
from gnoise.runfile import open_run

from .findings import norms_of

_AHEAD, _WAITED = "ahead", "ahead-waited"
_SECONDS = 1.5


@st.cache_resource(show_spinner=False)
def warm_up(path: Path) -> None:
    """Start, once a server and run, to import the page of layers, draw its first picture and add up norms.

    Args:
        path: of the run file.
    """
    later = Timer(_SECONDS, _make, (path,))  # not while the first page is on its way
    later.daemon = True
    later.start()


def _make(path: Path) -> None:
    import_module(f"{__package__}.views.layers")
    with suppress(UserError), open_run(path) as run:  # what cannot be read is said on the page that wants it
        first = run.layers[0].name
        sample = run.sketch(first)
        import_module("gnoise.charts.empirical").tabulate_laws(sample.scale_pairs)
        import_module("gnoise.charts.tail").tail(sample, [each for each in run.verdicts if each.layer == first])
        norms_of(run)


def fetch_ahead() -> None:
    """Have the browser fetch what draws charts and tables, once the first page stands: megabytes that it does not need.

    They are fetched for an element that nobody sees, a moment later, so that they hold nothing up.
    """
    if _AHEAD not in st.session_state:
        _wait()
        return
    with st.container(key=_AHEAD):
        st.plotly_chart(go.Figure(layout={"width": 10, "height": 10}), key=f"{_AHEAD}-chart", width="content")
        st.dataframe(pd.DataFrame({"": [0]}), key=f"{_AHEAD}-table", width=10, height=40)


@st.fragment(run_every=_SECONDS)
def _wait() -> None:
    if _WAITED in st.session_state:
        st.session_state[_AHEAD] = True
        st.rerun()
    st.session_state[_WAITED] = True
