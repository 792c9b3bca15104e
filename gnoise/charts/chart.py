"""What a chart is, and the looks all of them share."""

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float, Int

GREY = "rgb(127, 127, 127)"
"""Readable on white and on black."""
MOST_POINTS = 5_000
"""Of one trace."""


@dataclass(frozen=True)
class Chart:
    """A picture, what it says, and its data.

    Attributes:
        figure: transparent and without a font colour, so that light and dark pages both can hold it.
        finding: one sentence, true to the numbers: also the alternative text.
        table: everything drawn, one row a mark, for people who do not look at pictures.
    """

    figure: go.Figure
    finding: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Grid:
    """A picture that is a table: on the screen at once, without the megabytes that draw the others.

    Attributes:
        html: one element, text in it escaped; empty where there is nothing to draw.
        finding: as of a chart.
        table: likewise.
    """

    html: str
    finding: str
    table: pd.DataFrame


def style(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure a transparent ground and no wasted margins.

    Args:
        figure: changed in place, and returned.
        height: in pixels.
    """
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        hoverlabel={"align": "left"},
    )
    return figure


def plain(text: str) -> str:
    """Escape text that came from a file: Plotly reads tags and links in labels."""
    return escape(text, quote=False)


def shortened(text: str, length: int) -> str:
    """Cut the middle out of a long name; both ends of a layer's name matter.

    Args:
        text: a name.
        length: characters that fit, at least 3.
    """
    if len(text) <= length:
        return text
    tail = (length - 1) * 2 // 3
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def thinned(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " kept"]:
    """Choose at most :data:`MOST_POINTS` places of a long series, the smallest and the largest of each stretch.

    Args:
        values: in order.
    """
    if values.size <= MOST_POINTS:
        return np.arange(values.size)
    stretches = np.array_split(np.arange(values.size), MOST_POINTS // 2)
    ends = [place for each in stretches for place in (each[values[each].argmin()], each[values[each].argmax()])]
    return np.unique(ends)
