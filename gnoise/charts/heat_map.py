"""Layers × quantities at a glance: where to look first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

import numpy as np
import pandas as pd

from gnoise.charts.chart import Grid, shortened
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
_NAME_LENGTH = 34
STYLE = """
.gn-heat {border-collapse: separate; border-spacing: 2px; width: 100%; table-layout: fixed; font-size: 0.78rem;
  line-height: 1.2; font-variant-numeric: tabular-nums; print-color-adjust: exact}
.gn-heat th, .gn-heat td {border: 0; padding: 0.1rem 0.2rem; overflow-wrap: normal; vertical-align: middle}
.gn-heat td {text-align: center; background: rgba(127, 127, 127, 0.10)}
.gn-heat thead th {text-align: center; vertical-align: bottom; font-weight: 600}
.gn-heat th:first-child {width: 14rem; text-align: right; font-weight: 400; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis}
.gn-heat th a {color: inherit; text-decoration-color: color-mix(in srgb, currentColor 30%, transparent)}
"""
"""For the page that holds the table; a cell's own colour stands with the cell."""
# Below loud the page shines through and its own text colour is read; from loud on black is, on any page.
_QUIET, _PALEST, _PALE = "230, 97, 1", 0.10, 0.35
_LOUD, _LOUDEST = (253, 184, 99), (230, 97, 1)


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
        return "\n".join([self.layer.name, *wrapped])

    @property
    def colour(self) -> str:
        """Ground of the cell, and of its text where that cannot be the page's own; none without a concern."""
        if not self.concern:
            return ""
        if not self.is_loud:
            return f"background: rgba({_QUIET}, {_PALEST + (_PALE - _PALEST) * self.concern / LOUD:.2f})"
        part = (self.concern - LOUD) / (1.0 - LOUD)
        mixed = ", ".join(f"{low + part * (high - low):.0f}" for low, high in zip(_LOUD, _LOUDEST, strict=True))
        return f"background: rgb({mixed}); color: black"


def heat_map(
    layers: Sequence[Layer], estimates: Sequence[Estimate], *, address: Callable[[str], str] | None = None
) -> Grid:
    """Colour each estimate of each layer by how loud it is.

    The colour is of the calmest end of the interval (:mod:`gnoise.charts.concern`), the text is the value.
    The tail index across entries has no colour: unequal scales alone make it low. Of many layers, those
    with the loudest cells are drawn; the table has them all.

    Args:
        layers: in the model's order.
        estimates: of any layers and quantities; what is not in :data:`COLUMNS` is left out.
        address: where a layer's name leads to.
    """
    cells = _cells(layers, estimates)
    drawn = _loudest(layers, cells)
    finding = _finding(layers, len(drawn), cells)
    return Grid(_draw(drawn, cells, finding, address) if cells else "", finding, _table(cells))


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


def _draw(layers: Sequence[Layer], cells: Sequence[_Cell], finding: str, address: Callable[[str], str] | None) -> str:
    by_place = {(cell.layer.name, cell.estimate.quantity): cell for cell in cells}
    shown = [name for name in COLUMNS if any(cell.estimate.quantity == name for cell in cells)]
    heads = "".join(f'<th scope="col">{escape(COLUMNS[name])}</th>' for name in shown)
    rows = "".join(
        f'<tr><th scope="row">{_name(layer.name, address)}</th>'
        f"{''.join(_cell(by_place.get((layer.name, name))) for name in shown)}</tr>"
        for layer in layers
    )
    opening = f'<table class="gn-heat" aria-label="{escape(finding)}">'
    return f"{opening}<thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _name(layer: str, address: Callable[[str], str] | None) -> str:
    """Write a layer's name, shortened, the whole of it to point at."""
    words, whole = escape(shortened(layer, _NAME_LENGTH)), escape(layer)
    if address is None:
        return f'<span title="{whole}">{words}</span>'
    return f'<a href="{escape(address(layer))}" target="_self" title="{whole}">{words}</a>'


def _cell(cell: _Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    style = f' style="{cell.colour}"' if cell.colour else ""
    return f'<td{style} title="{escape(cell.hover)}">{escape(cell.text)}</td>'


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
