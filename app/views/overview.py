"""The first screen: the verdict, four numbers, where to look, what to do."""

from urllib.parse import urlencode

import streamlit as st

from gnoise.charts.heat_map import heat_map
from gnoise.charts.phrases import plural
from gnoise.charts.summary import Summary, summary
from gnoise.charts.tiles import tiles
from gnoise.records import Recommendation, Remedy, Severity
from gnoise.runfile import Run

from ..elements import offer_recommendations, show_grid, show_headline, show_lines, show_recommendation, show_tiles
from ..findings import findings_of
from ..pages import page_of
from ..warm import fetch_ahead

_CARDS = 3
_COLUMN = 560  # pixels: what is left below the numbers on a screen of 900, the rest scrolls in itself
_ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


def render(run: Run) -> None:
    """Show what the noise does to this model, how sure that is, and what to do about it."""
    found = findings_of(run)
    estimates, recommendations = found.estimates, found.recommendations
    said = summary(
        run.info, estimates, found.verdicts, recommendations, run.evidence_of(None), run=str(run.path), state=run.state
    )
    show_headline(said.headline, _about(run))
    show_tiles(tiles(run.info, estimates))
    where, what = st.columns([3, 2], gap="medium")
    with where:
        show_grid(heat_map(run.layers, estimates, address=_address), key="heat-map")
    with what.container(height=_COLUMN, border=False):
        _show_actions(run, recommendations)
        _show_reasons(said)
    fetch_ahead()


def _about(run: Run) -> str:
    info = run.info
    mode = "training" if info.training_mode else "evaluation"
    return (
        f"{run.path.name} · {info.model} · {info.data} · {info.draws} draws of {info.examples_per_draw} "
        f"{plural(info.example)} in {mode} mode"
    )


def _show_actions(run: Run, recommendations: tuple[Recommendation, ...]) -> None:
    active = [each for each in recommendations if each.remedy is not Remedy.NONE]
    active.sort(key=lambda each: _ORDER.index(each.severity))
    of_model = [each for each in recommendations if each.layer is None]
    for recommendation in (active or of_model)[:_CARDS]:
        with show_recommendation(recommendation):
            if recommendation.layer is not None:
                _link_to(recommendation.layer, run)
    if len(active) > _CARDS:
        st.caption(f"and {len(active) - _CARDS} more, in the file and on the Layers page")
    if recommendations:
        offer_recommendations(run.path)


def _query(layer: str) -> dict[str, str]:
    """Ask for a layer of the run that is chosen here."""
    chosen = {"run": st.query_params["run"]} if "run" in st.query_params else {}
    return {"layer": layer, **chosen}


def _address(layer: str) -> str:
    return f"layers?{urlencode(_query(layer))}"


def _link_to(layer: str, run: Run) -> None:
    st.page_link(page_of("layers", run), label="Open this layer", query_params=_query(layer))


def _show_reasons(said: Summary) -> None:
    """Show why and what next, a tab each; what is not looked at is not sent."""
    why, following = st.tabs(["Why", "Next"], key="reasons", on_change="rerun", default="Why" if said.why else "Next")
    if why.open:
        with why:
            show_lines(said.why)
    if not following.open:
        return
    with following:
        for line in said.next:
            if line.startswith("gnoise "):
                st.code(line, language=None, wrap_lines=True)
            else:
                show_lines([line])
