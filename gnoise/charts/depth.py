"""The noise scale of every layer along the depth of the network."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, plain, style
from gnoise.charts.phrases import number, plural, short
from gnoise.records import Estimate, Kind, Layer, RunInfo

_LOOKS = {
    Kind.EMBEDDING: ("rgb(94, 60, 153)", "star"),
    Kind.HEAD: ("rgb(94, 60, 153)", "hexagram"),
    Kind.ATTENTION: ("rgb(230, 97, 1)", "diamond"),
    Kind.MLP: ("rgb(43, 140, 190)", "circle"),
    Kind.NORM: ("rgb(27, 158, 119)", "triangle-up"),
    Kind.CONV: ("rgb(43, 140, 190)", "square"),
    Kind.BIAS: ("rgb(166, 86, 40)", "cross"),
    Kind.OTHER: (GREY, "x"),
}
"""Colour and symbol of a kind: either tells it."""
_COLUMNS = ["layer", "kind", "depth", "noise_scale", "low", "high"]


def noise_by_depth(info: RunInfo, layers: Sequence[Layer], estimates: Sequence[Estimate]) -> Chart:
    """Draw each layer's noise scale against the block it lives in, a colour and a symbol a kind.

    Layers outside of blocks, an embedding or a head, are in the table and not in the picture.

    Args:
        info: of the run.
        layers: in the model's order.
        estimates: of any layers and quantities.
    """
    scales = {each.layer: each for each in estimates if each.quantity == "b_simple" and each.value is not None}
    known = [(layer, scales[layer.name]) for layer in layers if layer.name in scales]
    rows = [(layer.name, str(layer.kind), layer.depth, scale.value, scale.low, scale.high) for layer, scale in known]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    placed = [layer for layer, _ in known if layer.depth is not None]
    if not placed:
        return Chart(style(go.Figure(), 120), "No layer with a noise scale lives in a numbered block.", table)
    figure = go.Figure()
    for kind in dict.fromkeys(layer.kind for layer in placed):
        _draw(figure, kind, [layer for layer in placed if layer.kind is kind], scales)
    grid = {"gridcolor": "rgba(127, 127, 127, 0.25)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "block"})
    figure.update_yaxes(grid | {"title": f"noise scale, {plural(info.example)}", "type": "log", "dtick": 1})
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 0.0})
    return Chart(style(figure, 340), _finding(info, placed, scales), table)


def _draw(figure: go.Figure, kind: Kind, layers: Sequence[Layer], scales: Mapping[str | None, Estimate]) -> None:
    colour, symbol = _LOOKS[kind]
    figure.add_scatter(
        x=[layer.depth for layer in layers],
        y=[scales[layer.name].value for layer in layers],
        name=str(kind),
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 7},
        text=[plain(f"{layer.name}: {short(scales[layer.name])}") for layer in layers],
        hovertemplate="%{text}<extra></extra>",
    )


def _finding(info: RunInfo, layers: Sequence[Layer], scales: Mapping[str | None, Estimate]) -> str:
    depths = sorted({layer.depth or 0 for layer in layers})
    unit = plural(info.example)

    def median(depth: int) -> str:
        return number(float(np.median([scales[layer.name].value or 0.0 for layer in layers if layer.depth == depth])))

    if len(depths) == 1:
        return f"The median noise scale of a layer in block {depths[0]} is {median(depths[0])} {unit}."
    return (
        f"The median noise scale of a layer goes from {median(depths[0])} {unit} in block {depths[0]} to "
        f"{median(depths[-1])} in block {depths[-1]}."
    )
