"""A chart as static SVG, for readers that run no JavaScript: the same figure, drawn by plain arithmetic.

It knows what the charts here use: points, lines, areas, error bars, texts and straight lines across.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from html import escape, unescape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gnoise.charts.axes import Axis, axis_of
from gnoise.charts.chart import GREY

_WIDTH = 900
_LETTER = 6.4
_BELOW, _ABOVE, _RIGHT = 44, 14, 24
_DASHES = {"dot": "2 4", "dash": "8 5", "dashdot": "8 4 2 4", "longdash": "12 5"}
_CYCLE = ("rgb(43, 140, 190)", "rgb(230, 97, 1)", "rgb(94, 60, 153)", "rgb(27, 158, 119)")
_SYMBOLS = {
    "diamond": "M0-{r}L{r} 0L0 {r}L-{r} 0Z",
    "square": "M-{r}-{r}H{r}V{r}H-{r}Z",
    "triangle-up": "M0-{r}L{r} {r}H-{r}Z",
    "triangle-right": "M-{r}-{r}L{r} 0L-{r} {r}Z",
    "x": "M-{r}-{r}L{r} {r}M-{r} {r}L{r}-{r}",
    "cross": "M-{r} 0H{r}M0-{r}V{r}",
}
_MOST_NAMED = 300


def svg(figure: go.Figure, title: str) -> str:
    """Draw a figure as one SVG element, with a legend in words below it.

    Args:
        figure: of a chart.
        title: what it says; its alternative text.
    """
    drawn: dict[str, Any] = _read(figure.to_plotly_json())
    layout: dict[str, Any] = drawn["layout"]
    traces = [each | {"colour": _CYCLE[place % len(_CYCLE)]} for place, each in enumerate(drawn["data"])]
    height = float(layout.get("height", 360))
    x, y = _axes(layout, traces, height)
    body = [*_frame(x, y), *(mark for each in traces for mark in _marks(each, x, y, traces)), *_lines(layout, x, y)]
    shape = f'viewBox="0 0 {_WIDTH} {height:.0f}" width="100%" role="img" aria-label="{escape(title)}"'
    return f'<svg {shape} font-size="12" fill="currentColor">{"".join(body)}</svg>{_legend(layout, traces)}'


def _read(part: Any) -> Any:
    """Read a figure's JSON, in which arrays of numbers are base64."""
    if isinstance(part, dict) and "bdata" in part:
        array = np.frombuffer(b64decode(part["bdata"]), dtype=part["dtype"])
        return array.reshape([int(side) for side in str(part.get("shape", array.size)).split(",")]).tolist()
    if isinstance(part, dict):
        return {key: _read(value) for key, value in part.items()}
    return [_read(value) for value in part] if isinstance(part, list | tuple) else part


def _axes(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]], height: float) -> tuple[Axis, Axis]:
    across = [*(list(each.get("x", ())) for each in traces), *_reached(layout, traces, "x")]
    down = [*(list(each.get("y", ())) for each in traces), *_reached(layout, traces, "y")]
    x_settings, y_settings = layout.get("xaxis", {}), layout.get("yaxis", {})
    y = axis_of(y_settings, down, height - _BELOW, _ABOVE)
    left = 34 + _LETTER * max((len(unescape(label)) for _, label in y.inside), default=0)
    return axis_of(x_settings, across, left, _WIDTH - _RIGHT), y


def _reached(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]], name: str) -> Iterator[list[Any]]:
    """List what else has to fit on an axis: ends of error bars, and straight lines across."""
    for each in traces:
        bars = each.get(f"error_{name}")
        if bars:
            pairs = [*zip(each[name], bars["array"], bars.get("arrayminus", bars["array"]), strict=True)]
            yield [value + up for value, up, _ in pairs]
            yield [value - down for value, _, down in pairs if value > down]
    for shape in layout.get("shapes", ()):
        if not str(shape.get(f"{name}ref", name)).endswith("domain"):
            yield [shape[f"{name}0"]]


def _frame(x: Axis, y: Axis) -> Iterator[str]:
    """Draw grid lines, labels and titles."""
    top, bottom = sorted((y.start, y.end))
    for at, label in y.inside:
        yield f'<path d="M{x.start:.1f} {at:.1f}H{x.end:.1f}" stroke="{GREY}" stroke-opacity=".25"/>'
        yield _text(x.start - 6, at + 4, label, anchor="end")
    for at, label in x.inside:
        for number, line in enumerate(label.split("<br>")):
            yield _text(at, bottom + 16 + 13 * number, line)
    yield _text((x.start + x.end) / 2.0, bottom + 36, x.title)
    middle = (top + bottom) / 2.0
    yield f'<g transform="rotate(-90 12 {middle:.1f})">{_text(12, middle, y.title)}</g>'


def _marks(trace: Mapping[str, Any], x: Axis, y: Axis, traces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    at = np.column_stack([x.place(trace.get("x", ())), y.place(trace.get("y", ()))])
    mode, line = str(trace.get("mode", "lines")), trace.get("line", {})
    colour = str(line.get("color") or _first(trace.get("marker", {}).get("color")) or trace["colour"])
    if trace.get("fill"):
        yield _area(trace, at, x, y, traces)
    yield from _error_bars(trace, at, x, y)
    if "lines" in mode and line.get("width", 2) > 0:
        dash = f' stroke-dasharray="{_DASHES[line["dash"]]}"' if line.get("dash") in _DASHES else ""
        style = f'fill="none" stroke="{colour}" stroke-width="{line.get("width", 2)}"{dash}'
        yield f'<path d="{_path(at)}" {style} stroke-opacity="{trace.get("opacity", 1)}"/>'
    if "markers" in mode:
        yield from _points(trace, at, colour)
    if "text" in mode:
        yield from _texts(trace, at)


def _path(at: np.ndarray) -> str:
    """Join points by lines, with a gap where one has no place."""
    parts: list[str] = []
    pen_down = False
    for left, top in at:
        known = bool(np.isfinite(left) and np.isfinite(top))
        if known:
            parts.append(f"{'L' if pen_down else 'M'}{left:.1f} {top:.1f}")
        pen_down = known
    return "".join(parts)


def _area(trace: Mapping[str, Any], at: np.ndarray, x: Axis, y: Axis, traces: Sequence[Mapping[str, Any]]) -> str:
    """Fill a closed line, or down to the trace before."""
    if trace["fill"] == "tonexty":
        place = next(number for number, each in enumerate(traces) if each is trace)
        before = traces[place - 1]
        lower = np.column_stack([x.place(before["x"]), y.place(before["y"])])
        at = np.concatenate([at, lower[::-1]])
    return f'<path d="{_path(at)}Z" fill="{trace.get("fillcolor", GREY)}" stroke="none"/>'


def _error_bars(trace: Mapping[str, Any], at: np.ndarray, x: Axis, y: Axis) -> Iterator[str]:
    for name, axis in (("x", x), ("y", y)):
        bars = trace.get(f"error_{name}")
        if not bars:
            continue
        values = np.array([np.nan if each is None else each for each in _numbers(trace[name], axis)])
        high = axis.place(values + np.array(bars["array"], dtype=np.float64))
        low = axis.place(values - np.array(bars.get("arrayminus", bars["array"]), dtype=np.float64))
        for (left, top), first, last in zip(at, low, high, strict=True):
            if not np.isfinite([left, top, last]).all():
                continue
            start = axis.start if np.isnan(first) else first
            d = f"M{start:.1f} {top:.1f}H{last:.1f}" if name == "x" else f"M{left:.1f} {start:.1f}V{last:.1f}"
            yield f'<path d="{d}" stroke="{GREY}" stroke-width="1.5"/>'


def _numbers(values: Sequence[Any], axis: Axis) -> list[Any]:
    return [axis.categories.get(each, each) if isinstance(each, str) else each for each in values]


def _points(trace: Mapping[str, Any], at: np.ndarray, colour: str) -> Iterator[str]:
    marker = trace.get("marker", {})
    sizes, symbols, colours = (marker.get(name) for name in ("size", "symbol", "color"))
    said = trace.get("text") if trace.get("text") is not None else trace.get("hovertext")
    for place, (left, top) in enumerate(at):
        if not (np.isfinite(left) and np.isfinite(top)):
            continue
        radius = float(_of(sizes, place) or 6) / 2.0
        ink = _of(colours, place) or colour
        shape = _SYMBOLS.get(str(_of(symbols, place)))
        name = "" if said is None or len(at) > _MOST_NAMED else f"<title>{_plain(_of(said, place))}</title>"
        if shape is None:
            yield f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}" fill="{ink}">{name}</circle>'
        else:
            path = f'<path d="{shape.format(r=radius)}" fill="{ink}" stroke="{ink}">{name}</path>'
            yield f'<g transform="translate({left:.1f} {top:.1f})">{path}</g>'


def _texts(trace: Mapping[str, Any], at: np.ndarray) -> Iterator[str]:
    ink = trace.get("textfont", {}).get("color") or "currentColor"
    is_above = "markers" in str(trace.get("mode"))
    for place, (left, top) in enumerate(at):
        if np.isfinite(left) and np.isfinite(top):
            yield _text(left, top - 9 if is_above else top + 4, str(_of(trace["text"], place)), ink=ink)


def _lines(layout: Mapping[str, Any], x: Axis, y: Axis) -> Iterator[str]:
    """Draw straight lines across, and what is written at them."""
    for shape in layout.get("shapes", ()):
        ink = shape.get("line", {})
        style = f'stroke="{ink.get("color", GREY)}" stroke-dasharray="{_DASHES.get(str(ink.get("dash")), "none")}"'
        if shape.get("xref", "x").endswith("domain"):
            yield f'<path d="M{x.start:.1f} {y.place([shape["y0"]])[0]:.1f}H{x.end:.1f}" {style}/>'
        else:
            yield f'<path d="M{x.place([shape["x0"]])[0]:.1f} {y.start:.1f}V{y.end:.1f}" {style}/>'
    for note in layout.get("annotations", ()):
        if str(note.get("xref", "x")).endswith("domain"):
            yield _text(x.end, y.place([note["y"]])[0] - 5, str(note["text"]), anchor="end")
        else:
            yield _text(x.place([note["x"]])[0] + 4, y.end + 12, str(note["text"]), anchor="start")


def _legend(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> str:
    if layout.get("showlegend") is False:
        return ""
    entries: list[str] = []
    for each in traces:
        if each.get("name") and each.get("showlegend", True):
            line, marker = each.get("line", {}), each.get("marker", {})
            ink = line.get("color") or _first(marker.get("color")) or each["colour"]
            if "lines" in str(each.get("mode", "lines")):
                dash = _DASHES.get(str(line.get("dash")), "none")
                drawn = f'<path d="M0 7H30" stroke="{ink}" stroke-width="3" stroke-dasharray="{dash}"/>'
            else:
                drawn = "".join(_points(each, np.array([[15.0, 7.0]]), str(ink)))
            swatch = f'<svg width="34" height="14" aria-hidden="true">{drawn}</svg>'
            entries.append(f"<span>{swatch}{_plain(each['name'])}</span>")
    return f'<div class="legend">{"".join(entries)}</div>' if len(entries) > 1 else ""


def _text(left: float, top: float, text: str, *, anchor: str = "middle", ink: str = "currentColor") -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}" fill="{ink}">{_plain(text)}</text>'


def _plain(text: object) -> str:
    """Show text as text: in a figure it is already escaped once, and the only tags in it are line breaks and bold."""
    bare = str(text).replace("<b>", "").replace("</b>", "")
    return escape(unescape(bare))


def _of(values: Any, place: int) -> Any:
    """Read one mark's own setting, where there is one each, or what all of them share."""
    return values if values is None or isinstance(values, str | int | float) else values[place]


def _first(values: Any) -> Any:
    return None if values is None else _of(values, 0)
