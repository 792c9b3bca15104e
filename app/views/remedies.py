"""What every remedy would have bought, for the model and for one layer, and everything behind the recommendations."""

import streamlit as st

from gnoise.charts.ladder import judged_words, ladder
from gnoise.errors import UserError
from gnoise.export import recommendations_document
from gnoise.export.requests import load_requests
from gnoise.export.snippets import snippet
from gnoise.records import Recommendation, Remedy
from gnoise.runfile import Run

from ..elements import offer_recommendations, show_chart, show_lines, show_recommendation, show_refusal
from ..findings import findings_of

_SELECT = "ladder"
_MODEL = "the whole model"
_APPLY = """import gnoise

gnoise.apply("recommendations.json", model, optimizer)  # in a terminal: gnoise apply --show recommendations.json"""
_CODE = {"One line": None, "Plain PyTorch": "torch", "Hugging Face Trainer": "trainer", "Lightning": "lightning"}
"""Tab to the kind of training script."""
_LINES, _TALLEST = 24, 480  # pixels


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
        show_chart(ladder(run.evidence_of(layer), layer=layer, info=run.info), key="ladder-chart")
    with words:
        for recommendation in recommendations:
            if recommendation.layer == layer:
                show_recommendation(recommendation)
                show_lines(_beside(recommendation))
    if recommendations:
        _show_code(run)
    st.caption(
        "A gain is the progress per step at these weights, as a ratio to no remedy, from the recorded draws passed "
        f"through remedy and optimizer{judged_words(run.info)}, with the interval of these draws; that of tokens saved "
        "allows for how far trials were from such predictions. A trial of your own says what it is worth."
    )


def _show_code(run: Run) -> None:
    """Show what to paste into a training script, a tab each; what is not looked at is not written."""
    st.caption("All of this run's remedies, for your training script")
    tabs = st.tabs(list(_CODE), key="code", bind="query-params", on_change="rerun")
    for tab, (name, loop) in zip(tabs, _CODE.items(), strict=True):
        if not tab.open:
            continue
        with tab:
            try:
                code = _APPLY if loop is None else snippet(load_requests(recommendations_document(run)), loop=loop)
                st.code(code, language="python", height=_TALLEST if code.count("\n") > _LINES else "content")
            except UserError as error:
                show_refusal(f"{name} cannot be written: {error}")
    offer_recommendations(run.path)


def _beside(recommendation: Recommendation) -> list[str]:
    """Say how the other remedies did and what would change the answer."""
    lines = [f"Instead: {line}" for line in recommendation.alternatives]
    return [*lines, f"What would change this: {recommendation.unless}"] if recommendation.unless else lines
