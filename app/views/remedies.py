"""What every remedy would have bought, for the model and for one layer, and everything behind the recommendations."""

import streamlit as st

from gnoise.charts.ladder import ladder
from gnoise.records import Recommendation, Remedy
from gnoise.runfile import Run

from ..elements import offer_recommendations, show_chart, show_lines, show_recommendation
from ..findings import findings_of

_SELECT = "ladder"
_MODEL = "the whole model"
_APPLY = """import gnoise

gnoise.apply("recommendations.json", model, optimizer)  # in a terminal: gnoise apply --show recommendations.json"""


def render(run: Run) -> None:
    """Show the ladder of the model or of the layer picked, and its recommendation beside it."""
    recommendations = findings_of(run).recommendations
    treated = [each.layer for each in recommendations if each.layer and each.remedy is not Remedy.NONE]
    others = [layer.name for layer in run.layers if layer.name not in treated]
    name = st.selectbox(
        f"Whose remedies ({len(treated)} of {len(run.layers)} layers have a remedy, listed first)",
        [_MODEL, *treated, *others],
        key=_SELECT,
        bind="query-params",
    )
    layer = None if name == _MODEL else name
    picture, words = st.columns([3, 2], gap="medium")
    with picture:
        show_chart(ladder(run.evidence_of(layer), layer=layer), key="ladder-chart")
    with words:
        for recommendation in recommendations:
            if recommendation.layer == layer:
                show_recommendation(recommendation)
                show_lines(_beside(recommendation))
    if recommendations:
        offer, code = st.columns([1, 3], vertical_alignment="center")
        with offer:
            offer_recommendations(run.path)
        code.code(_APPLY, language="python")
    st.caption(
        "A gain is the progress per step at these weights, as a ratio to no remedy, from the recorded draws passed "
        "through remedy and optimizer; a trial says what it is worth in tokens."
    )


def _beside(recommendation: Recommendation) -> list[str]:
    """Say how the other remedies did and what would change the answer."""
    lines = [f"Instead: {line}" for line in recommendation.alternatives]
    return [*lines, f"What would change this: {recommendation.unless}"] if recommendation.unless else lines
