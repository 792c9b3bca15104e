"""Pages for the navigation and for links; the first of them is the front page."""

from functools import partial
from importlib import import_module

import streamlit as st
from streamlit.navigation.page import Page

from gnoise.runfile import Run

from .views import VIEWS

_FRONT = next(iter(VIEWS))
_NOWHERE = "front"  # the front page stands at the root; this keeps its own name free


def page_of(view: str, run: Run) -> Page:
    """Make a view the page of one run; its path in the URL is its title, and none for the front page.

    Args:
        view: a module in ``views``.
        run: open, until the page has been drawn.
    """
    title = VIEWS[view]
    if view == _FRONT:
        return st.Page(partial(_show, view, run), title=title, url_path=_NOWHERE, default=True)
    return st.Page(partial(_show, view, run), title=title, url_path=_path(title))


def pages_of(run: Run) -> list[Page]:
    """Make every page of one run, and the front page once more under its own name, in no menu.

    Args:
        run: open, until the page has been drawn.
    """
    title = VIEWS[_FRONT]
    named = st.Page(partial(_show, _FRONT, run), title=title, url_path=_path(title), visibility="hidden")
    return [*(page_of(view, run) for view in VIEWS), named]


def _show(view: str, run: Run) -> None:
    # The package is `app` in a checkout and `gnoise._app` in the wheel.
    import_module(f"{__package__}.views.{view}").render(run)


def _path(title: str) -> str:
    return title.lower().replace(" ", "-")
