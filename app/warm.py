"""What later pages need and takes a second to make, made while the first one is being read."""

from importlib import import_module
from threading import Thread

import streamlit as st


@st.cache_resource(show_spinner=False)
def warm_up() -> None:
    """Start, once a server, to import the page of layers and to tabulate the laws it fits."""
    Thread(target=_tabulate, daemon=True).start()


def _tabulate() -> None:
    import_module(f"{__package__}.views.layers")
    import_module("gnoise.charts.empirical").tabulate_laws()
