"""What several pages show in the same way; text out of a file is always shown as text."""

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gnoise.charts import heat_map
from gnoise.charts.cards import card
from gnoise.charts.chart import Chart, Grid
from gnoise.charts.tiles import Tile
from gnoise.records import Recommendation

from .findings import recommendations_file

STYLE = (
    f"""<style>{heat_map.STYLE}</style>"""
    + """<style>
.stMainBlockContainer {padding: 4rem 2.5rem 0.3rem 2.5rem}
.gn-tiles {display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.75rem}
.gn-tile {border: 1px solid color-mix(in srgb, currentColor 22%, transparent); border-radius: 0.5rem;
  padding: 0.45rem 0.8rem; overflow-wrap: anywhere}
.gn-small {font-size: 0.8rem; line-height: 1.3; opacity: 0.8}
.gn-value {font-size: 1.45rem; font-weight: 600; line-height: 1.4}
.gn-headline {font-size: 1.25rem; font-weight: 600; line-height: 1.35; margin: 0; padding: 0}
.gn-finding {font-size: 0.95rem; line-height: 1.4; overflow-wrap: anywhere}
.gn-card {font-size: 0.95rem; line-height: 1.35; overflow-wrap: anywhere}
.gn-lines p {font-size: 0.9rem; line-height: 1.4; margin: 0 0 0.5rem 0; overflow-wrap: anywhere}
.stPlotlyChart text[style*="rgb(49, 51, 63)"], .stPlotlyChart text[style*="rgb(250, 250, 250)"]
  {fill: currentColor !important}
.st-key-ahead {position: absolute; width: 1px; height: 1px; overflow: hidden; visibility: hidden}
.gn-refusal {border-left: 0.25rem solid #d55e00; padding-left: 0.6rem; font-size: 0.95rem; overflow-wrap: anywhere}
</style>"""
)
"""Of every page; colours follow the page's text, so light and dark need no rules of their own.

Text of charts that was given the page's colour follows it too: switching the theme draws no chart anew.
"""


def show_headline(text: str, about: str) -> None:
    """Show the verdict's sentence, and under it what it is about."""
    st.html(f'<h1 class="gn-headline">{escape(text)}</h1><div class="gn-small">{escape(about)}</div>')


def show_tiles(tiles: Sequence[Tile]) -> None:
    """Show numbers side by side."""
    boxes = "".join(
        f'<div class="gn-tile"><div class="gn-small">{escape(tile.label)}</div>'
        f'<div class="gn-value">{escape(tile.value)}</div>'
        f'<div class="gn-small">{escape(tile.detail)}</div></div>'
        for tile in tiles
    )
    st.html(f'<div class="gn-tiles">{boxes}</div>')


def show_chart(chart: Chart, *, key: str) -> None:
    """Show a finding, its figure with the finding as alternative text, and its data."""
    st.html(f'<div class="gn-finding">{escape(chart.finding)}</div>')
    if chart.figure.data:
        st.plotly_chart(_in_theme(chart.figure), key=key, alt=chart.finding, config={"displayModeBar": False})
        show_numbers(chart.table, key=f"{key}-numbers")


def show_grid(grid: Grid, *, key: str) -> None:
    """Show a finding, its table as a picture, and its data."""
    st.html(f'<div class="gn-finding">{escape(grid.finding)}</div>')
    if grid.html:
        with st.container(key=key):
            st.html(grid.html)
        show_numbers(grid.table, key=f"{key}-numbers")


def show_numbers(table: pd.DataFrame, *, key: str) -> None:
    """Offer a table behind a heading; it is sent once somebody asks for it."""
    numbers = st.expander("The numbers of this picture", key=f"{key}-asked", on_change="rerun")
    if numbers.open:
        numbers.dataframe(table, hide_index=True, height=240, placeholder="–", key=key)


def show_lines(lines: Sequence[str]) -> None:
    """Show lines of text, a paragraph each."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    st.html(f'<div class="gn-lines">{paragraphs}</div>')


def show_refusal(text: str) -> None:
    """Say what could not be read and what to type instead."""
    st.html(f'<div class="gn-refusal" role="alert">{escape(text)}</div>')


def show_recommendation(recommendation: Recommendation) -> DeltaGenerator:
    """Show a card: a remedy, why, what it rests on, what it may gain, and its parameters to copy.

    Returns:
        where on the card there is room for a link.
    """
    words = card(recommendation)
    lines = [f"<b>{escape(words.name)}</b> · {escape(words.where)}", escape(words.reason)]
    lines += [f'<span class="gn-small">{escape(line)}</span>' for line in words.details]
    place = st.container(border=True, gap="xsmall")
    place.html(f'<div class="gn-card">{"<br>".join(lines)}</div>')
    if not words.code:
        return place
    code, beside = place.columns([3, 2], vertical_alignment="center")
    code.code(words.code, language=None, wrap_lines=True)
    return beside


def offer_recommendations(path: Path) -> None:
    """Offer the remedies of a run as the file that training reads."""
    st.download_button(
        "Download recommendations.json",
        data=partial(recommendations_file, path),
        file_name="recommendations.json",
        mime="application/json",
        on_click="ignore",  # a rerun would forget the file while it is being made
    )


def _in_theme(figure: go.Figure) -> go.Figure:
    """Give text the page's own colour: Streamlit's for charts is too pale to read numbers in."""
    font = {"color": "#fafafa" if st.context.theme.type == "dark" else "#31333f"}
    figure.update_layout(font=font)
    figure.update_xaxes({"tickfont": font, "title": {"font": font}})
    figure.update_yaxes({"tickfont": font, "title": {"font": font}})
    return figure
