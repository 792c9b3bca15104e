"""Every layer in one table; one of them with its tail and all its numbers."""

import pandas as pd
import streamlit as st

from gnoise.charts.answers import answer_sentence
from gnoise.charts.averaging import averaging
from gnoise.charts.ladder import ladder
from gnoise.charts.layer_filter import EXAMPLE, kept_layers, read_filter
from gnoise.charts.quantile_plot import quantile_plot
from gnoise.charts.rows import row_energy
from gnoise.charts.spectrum import spectrum
from gnoise.charts.tables import LAYER_QUANTITIES, estimate_table, layer_table, remarks, title
from gnoise.charts.tail import tail
from gnoise.errors import UserError
from gnoise.quantities import QUANTITIES
from gnoise.records import Layer, Recommendation, Remedy
from gnoise.runfile import Run

from ..elements import show_chart, show_lines, show_recommendation, show_refusal
from ..findings import Findings, findings_of

_SELECT = "layer"
_FORMATS = {
    "b_simple": "%.4g",
    "alpha_entries": "%.2f",
    "alpha_draws": "%.2f",
    "averaging_slope": "%.2f",
    "row_dispersion": "%.1f",
    "spike_ratio": "%.2f",
}
_WHERE = f"""Comparisons joined by `and`: a quantity with a number, or `layer`, `kind`, `shape` or `remedy` with a text
in quotes; `~` is a regular expression, `!~` its opposite. Layers without the number are left out. Quantities:
{", ".join(f"`{name}`" for name in QUANTITIES)}."""
_SHORT = {"alpha_entries": "α (entries)", "alpha_draws": "α (draws)"}


def render(run: Run) -> None:
    """Show all layers, sortable, and the selected one; the selection is in the URL."""
    found = findings_of(run)
    every = layer_table(run.layers, found.estimates, found.recommendations)
    by_layer, by_name, by_kind, by_expression = st.columns([5, 2, 2, 4])
    with by_name:
        text = st.text_input("Name contains", key="filter", placeholder="any name", bind="query-params")
    with by_kind:
        kinds = st.multiselect(
            "Kind", sorted(every["kind"].unique()), key="kinds", placeholder="any kind", bind="query-params"
        )
    with by_expression:
        expression = st.text_input(
            "Where", key="where", placeholder=EXAMPLE, bind="query-params", max_chars=400, help=_WHERE
        )
    shown = _filtered(every, text, kinds)
    try:
        kept = kept_layers(read_filter(expression), run.layers, found.estimates, found.recommendations)
        shown = shown.loc[shown["layer"].isin(list(kept))].reset_index(drop=True)
    except UserError as error:
        show_refusal(f"This filter was left out: {error}")
    with by_layer:
        layer = run.layer(_selected(run.layers, found.recommendations, len(shown)))
    _show_table(shown, key=f"layers of {run.path}")
    own = found.of_layer(layer.name)
    picture, numbers = st.columns([1, 1], gap="medium")
    with picture:
        _show_picture(run, layer, own)
    with numbers:
        for recommendation in own.recommendations:
            show_recommendation(recommendation)
        show_lines([answer_sentence(each) for each in own.verdicts])
        table = estimate_table(own.estimates)
        st.dataframe(
            table,
            hide_index=True,
            height=330,
            row_height=28,
            key="estimates",
            column_order=list(table.columns[:-1]),
            column_config={
                "quantity": st.column_config.TextColumn(width=275),
                "value": st.column_config.TextColumn(width=70),
                "95% interval": st.column_config.TextColumn(width=130),
                "unit": st.column_config.TextColumn(width=105),
                "n": st.column_config.NumberColumn(width=40),
            },
        )
        remarked = [each for each in own.estimates if remarks(each)]
        if remarked:
            show_lines([f"{title(each.quantity)}: {remarks(each)}" for each in remarked])


def _show_picture(run: Run, layer: Layer, own: Findings) -> None:
    """Show the picture whose tab is open: one is drawn, and only what it needs is read."""
    views = {
        "Tail": lambda: tail(run.sketch(layer.name), own.verdicts),
        "Quantiles": lambda: quantile_plot(run.sketch(layer.name), own.verdicts),
        "Averaging": lambda: averaging(run.coordinate_values(layer.name), own.estimates),
        "Rows": lambda: row_energy(run.matrix(layer.name), own.estimates, labels=run.row_labels(layer)),
        "Spectrum": lambda: spectrum(run.matrix(layer.name), own.estimates, labels=run.row_labels(layer)),
        "Remedies": lambda: ladder(run.evidence_of(layer.name), layer=layer.name, info=run.info),
    }
    tabs = st.tabs(list(views), key="view", bind="query-params", on_change="rerun")
    for tab, (name, draw) in zip(tabs, views.items(), strict=True):
        if tab.open:
            with tab:
                show_chart(draw(), key=name.lower())


def _filtered(table: pd.DataFrame, text: str, kinds: list[str]) -> pd.DataFrame:
    kept = table["layer"].str.contains(text, regex=False, case=False)
    if kinds:
        kept &= table["kind"].isin(kinds)
    return table.loc[kept].reset_index(drop=True)


def _show_table(table: pd.DataFrame, *, key: str) -> None:
    """Show the rows; a click on one selects its layer."""
    names = list(table["layer"])
    headings = {"b_simple_interval": st.column_config.TextColumn("95% interval")}
    numbers = {
        name: st.column_config.NumberColumn(_heading(name), help=QUANTITIES[name].meaning, format=_FORMATS[name])
        for name in LAYER_QUANTITIES
    }
    st.dataframe(
        table,
        hide_index=True,
        height=212,
        placeholder="–",
        key=key,
        column_config={**headings, **numbers},
        on_select=lambda: _select_row(key, names),
        selection_mode="single-row",
    )


def _select_row(key: str, names: list[str]) -> None:
    rows = st.session_state[key].selection.rows
    if rows:
        st.session_state[_SELECT] = names[rows[0]]


def _selected(layers: tuple[Layer, ...], recommendations: tuple[Recommendation, ...], shown: int) -> str:
    """Let a layer be picked; at first the first one that needs a remedy."""
    every = [layer.name for layer in layers]
    treated = [each.layer for each in recommendations if each.layer and each.remedy is not Remedy.NONE]
    # What is picked at first is the widget's own default: only that one may be missing from the URL.
    return st.selectbox(
        f"Layer ({shown} of {len(every)} in the table: click a row, or pick here)",
        every,
        index=every.index(treated[0]) if treated else 0,
        key=_SELECT,
        bind="query-params",
    )


def _heading(quantity: str) -> str:
    known = QUANTITIES[quantity]
    return _SHORT.get(quantity, known.words)
