"""Layers × quantities at a glance: where to look first."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import Chart, plain, shortened, style
from gnoise.charts.concern import LOUD, concern
from gnoise.charts.phrases import number, short, with_sign
from gnoise.charts.tables import advice, title
from gnoise.quantities import QUANTITIES
from gnoise.records import Estimate, Layer

COLUMNS = {
    "b_simple": "noise scale",
    "alpha_entries": "α across entries",
    "alpha_draws": "α across draws",
    "averaging_slope": "averaging slope",
    "max_entry_ratio": "largest entry / σ₁",
    "row_dispersion": "row dispersion",
    "spike_ratio": "norm spikes",
    "example_spike_ratio": "example spikes",
}
"""Quantity to its heading, in the order shown."""
MAX_LAYERS = 20
_ROW_HEIGHT, _MARGINS = 20, 60
_NAME_LENGTH = 34
# Below loud the page shines through and its own text colour is read; from loud on black is, on any page.
_QUIET, _LOUD, _LOUDEST = "230, 97, 1", "rgb(253, 184, 99)", "rgb(230, 97, 1)"
_COLOURS = [
    [0.0, "rgba(127, 127, 127, 0.10)"],
    [0.05, f"rgba({_QUIET}, 0.10)"],
    [LOUD - 1e-6, f"rgba({_QUIET}, 0.35)"],
    [LOUD, _LOUD],
    [1.0, _LOUDEST],
]
_BARE_AXIS = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": ""}


@dataclass(frozen=True)
class _Cell:
    layer: Layer
    estimate: Estimate
    concern: float | None

    @property
    def is_loud(self) -> bool:
        return self.concern is not None and self.concern >= LOUD

    @property
    def text(self) -> str:
        """What stands in the cell; a triangle says loud without colour."""
        value = self.estimate.value
        write = with_sign if self.estimate.quantity == "averaging_slope" else number
        words = short(self.estimate) if value is None else write(value)
        return f"▲ {words}" if self.is_loud else words

    @property
    def hover(self) -> str:
        lines = (
            f"{title(self.estimate.quantity)}: {short(self.estimate)}",
            advice(self.estimate),
            self.estimate.note,
        )
        wrapped = [piece for line in lines for piece in wrap(line, 80)]
        return "<br>".join([f"<b>{plain(self.layer.name)}</b>", *(plain(piece) for piece in wrapped)])


def heat_map(layers: Sequence[Layer], estimates: Sequence[Estimate]) -> Chart:
    """Colour each estimate of each layer by how loud it is.

    The colour is of the calmest end of the interval (:mod:`gnoise.charts.concern`), the text is the value.
    The tail index across entries has no colour: unequal scales alone make it low. Of many layers, those
    with the loudest cells are drawn; the table has them all.

    Args:
        layers: in the model's order.
        estimates: of any layers and quantities; what is not in :data:`COLUMNS` is left out.
    """
    cells = _cells(layers, estimates)
    drawn = _loudest(layers, cells)
    return Chart(_draw(drawn, cells), _finding(layers, len(drawn), cells), _table(cells))


def _cells(layers: Sequence[Layer], estimates: Sequence[Estimate]) -> list[_Cell]:
    by_name = {layer.name: layer for layer in layers}
    wanted = [each for each in estimates if each.layer in by_name and each.quantity in COLUMNS]
    scales = [each.value for each in wanted if each.quantity == "b_simple" and each.value is not None]
    median = float(np.median(scales)) if scales else None
    cells: list[_Cell] = []
    for each in wanted:
        layer = by_name[each.layer or ""]
        cells.append(_Cell(layer, each, concern(each, layer, median_noise_scale=median)))
    return cells


def _loudest(layers: Sequence[Layer], cells: Sequence[_Cell]) -> list[Layer]:
    """Pick the layers with the loudest cells, and keep the model's order."""
    loudness = {layer.name: 0.0 for layer in layers}
    for cell in cells:
        loudness[cell.layer.name] = max(loudness[cell.layer.name], cell.concern or 0.0)
    picked = sorted(layers, key=lambda layer: -loudness[layer.name])[:MAX_LAYERS]
    names = {layer.name for layer in picked}
    return [layer for layer in layers if layer.name in names]


def _draw(layers: Sequence[Layer], cells: Sequence[_Cell]) -> go.Figure:
    rows = {layer.name: row for row, layer in enumerate(layers)}
    seen = {cell.estimate.quantity for cell in cells}
    columns = {name: column for column, name in enumerate(name for name in COLUMNS if name in seen)}
    colour: list[list[float | None]] = [[None] * len(columns) for _ in rows]
    hover = [[""] * len(columns) for _ in rows]
    drawn = [cell for cell in cells if cell.layer.name in rows]
    for cell in drawn:
        row, column = rows[cell.layer.name], columns[cell.estimate.quantity]
        colour[row][column], hover[row][column] = cell.concern, cell.hover
    figure = go.Figure(_coloured(colour, hover))
    for loud in (False, True):
        chosen = [cell for cell in drawn if cell.is_loud is loud]
        figure.add_trace(
            go.Scatter(
                x=[columns[cell.estimate.quantity] for cell in chosen],
                y=[rows[cell.layer.name] for cell in chosen],
                text=[cell.text for cell in chosen],
                mode="text",
                textfont={"size": 12, "color": "black" if loud else None},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    headings = ["<br>".join(wrap(COLUMNS[name], 11)) for name in columns]
    names = [plain(shortened(layer.name, _NAME_LENGTH)) for layer in layers]
    across = {"side": "top", "tickangle": 0, "range": [-0.5, max(len(columns), 1) - 0.5]}
    down = {"range": [max(len(rows), 1) - 0.5, -0.5]}
    figure.update_xaxes({"tickvals": list(columns.values()), "ticktext": headings} | across | _BARE_AXIS)
    figure.update_yaxes({"tickvals": list(rows.values()), "ticktext": names} | down | _BARE_AXIS)
    return style(figure, _MARGINS + _ROW_HEIGHT * max(len(rows), 3))


def _coloured(colour: list[list[float | None]], hover: list[list[str]]) -> go.Heatmap:
    return go.Heatmap(
        z=colour,
        text=hover,
        hovertemplate="%{text}<extra></extra>",
        colorscale=_COLOURS,
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        colorbar={"thickness": 8, "tickvals": [0, LOUD, 1], "ticktext": ["calm", "▲ loud", ""], "len": 0.9},
    )


def _finding(layers: Sequence[Layer], drawn: int, cells: Sequence[_Cell]) -> str:
    if not cells:
        return "There are no estimates of any layer yet: run gnoise analyze on this file."
    unknown = sum(cell.estimate.value is None for cell in cells)
    parts = [_loud_part([cell for cell in cells if cell.is_loud], len(layers))]
    if drawn < len(layers):
        parts.append(f"the {drawn} loudest are drawn")
    if unknown:
        parts.append(f"{unknown} of {len(cells)} cells have no number: point at one for the reason")
    return "; ".join(parts) + "."


def _loud_part(loud: Sequence[_Cell], layers: int) -> str:
    if not loud:
        return f"None of {layers} layers has a number that is loud with its whole interval"
    worst = max(loud, key=lambda cell: cell.concern or 0.0)
    loud_layers = len({cell.layer.name for cell in loud})
    words = QUANTITIES[worst.estimate.quantity].words
    verb = "has" if loud_layers == 1 else "have"
    return (
        f"{loud_layers} of {layers} layers {verb} a number that is loud with its whole interval, most of all "
        f"the {words} of {worst.layer.name}, {short(worst.estimate)}"
    )


def _table(cells: Sequence[_Cell]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer": [cell.layer.name for cell in cells],
            "quantity": [cell.estimate.quantity for cell in cells],
            "value": [cell.estimate.value for cell in cells],
            "low": [cell.estimate.low for cell in cells],
            "high": [cell.estimate.high for cell in cells],
            "status": [str(cell.estimate.status) for cell in cells],
            "concern": [cell.concern for cell in cells],
        }
    ).astype(dict.fromkeys(("value", "low", "high", "concern"), "float64"))
