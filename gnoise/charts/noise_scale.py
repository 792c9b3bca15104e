"""The noise scale of the whole model, of every kind of layer and of every layer."""

from collections.abc import Iterator, Sequence

import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, plain, style
from gnoise.charts.phrases import interval, number, plural, short
from gnoise.charts.tables import advice, interval_or_reason, remarks
from gnoise.quantities import KIND_QUANTITIES
from gnoise.records import Estimate, Layer, RunInfo

WHOLE = "whole model"
_ADAM = "whole model, in Adam's norm"
_MUON = "followed matrices, in Muon's norm"
_ORANGE, _BLUE = "rgb(230, 97, 1)", "rgb(55, 126, 184)"
_ROW, _MARGINS = 30, 70
_TICKS = [first * 10.0**power for power in range(-3, 7) for first in (1, 3)]


def noise_scales(info: RunInfo, estimates: Sequence[Estimate]) -> Chart:
    """Draw the noise scale of the model and its kinds with their intervals, and the batch in training.

    Args:
        info: of the run.
        estimates: of any layers and quantities.
    """
    rows = list(_of_model(estimates))
    unit = plural(info.example)
    table = pd.DataFrame(
        [(name, *_cells(each, info.tokens_per_example), remarks(each)) for name, each in rows],
        columns=["of", unit, "95% interval", "tokens", "remarks"],
    )
    drawn = [(name, each) for name, each in rows if each.value is not None]
    figure = go.Figure()
    for name, each in reversed(drawn):
        _draw(figure, name, each)
    if info.training_batch is not None and drawn:
        figure.add_vline(x=info.training_batch, line={"dash": "dash", "color": _ORANGE})
    words = [f"{tick:,g}" for tick in _TICKS]
    figure.update_xaxes(type="log", title=unit, gridcolor="rgba(127, 127, 127, 0.25)", tickvals=_TICKS, ticktext=words)
    figure.update_layout(showlegend=False)
    return Chart(style(figure, _MARGINS + _ROW * max(len(drawn), 1)), _finding(info, dict(rows), unit), table)


def noise_scale_table(info: RunInfo, layers: Sequence[Layer], estimates: Sequence[Estimate]) -> pd.DataFrame:
    """Make one row a layer: its noise scale in examples, in tokens and in Adam's norm; in Muon's where any is.

    Args:
        info: of the run.
        layers: in the model's order.
        estimates: of any layers and quantities.
    """
    found = {(each.layer, each.quantity): each for each in estimates}
    muon = any(each.quantity == "b_muon" for each in estimates)
    rows: list[dict[str, object]] = []
    for layer in layers:
        plain_scale, adam = found.get((layer.name, "b_simple")), found.get((layer.name, "b_adam"))
        value, ends, tokens = _cells(plain_scale, info.tokens_per_example)
        row: dict[str, object] = {
            "layer": layer.name,
            "kind": str(layer.kind),
            plural(info.example): value,
            "95% interval": ends,
            "tokens": tokens,
            "in Adam's norm": None if adam is None else adam.value,
            "its 95% interval": "–" if adam is None else interval_or_reason(adam),
        }
        if muon:
            scale = found.get((layer.name, "b_muon"))
            row["in Muon's norm"] = None if scale is None else scale.value
            row["its bracket"] = "–" if scale is None else interval_or_reason(scale)
        rows.append(row | {"remarks": "" if plain_scale is None else remarks(plain_scale)})
    return pd.DataFrame(rows)


def _of_model(estimates: Sequence[Estimate]) -> Iterator[tuple[str, Estimate]]:
    of_model = {each.quantity: each for each in estimates if each.layer is None}
    names = {"b_simple": WHOLE, "b_adam": _ADAM, "b_muon": _MUON} | {
        quantity: kind for kind, quantity in KIND_QUANTITIES.items()
    }
    for quantity, name in names.items():
        if quantity in of_model:
            yield name, of_model[quantity]


def _cells(estimate: Estimate | None, tokens: int | None) -> tuple[float | None, str, float | None]:
    if estimate is None:
        return None, "–", None
    in_tokens = None if estimate.value is None or tokens is None else estimate.value * tokens
    return estimate.value, interval_or_reason(estimate), in_tokens


def _draw(figure: go.Figure, name: str, estimate: Estimate) -> None:
    value, low = estimate.value or 0.0, estimate.low or 0.0
    figure.add_scatter(
        x=[value],
        y=[plain(name)],
        mode="markers",
        marker={"size": 10, "color": _BLUE, "symbol": "circle" if estimate.high is not None else "triangle-right"},
        error_x={
            "array": [max((value if estimate.high is None else estimate.high) - value, 0.0)],
            "arrayminus": [value - low],
            "color": GREY,
        },
        hovertext=plain(f"{name}: {short(estimate)}"),
        hoverinfo="text",
    )


def _finding(info: RunInfo, rows: dict[str, Estimate], unit: str) -> str:
    whole = rows.get(WHOLE)
    if whole is None:
        return "The noise scale is not in this run yet: run gnoise analyze."
    if whole.value is None:
        return f"The whole model's noise scale has no number: {advice(whole)}."
    caution = f" ({advice(whole)})" if advice(whole) else ""
    batch = info.training_batch
    against = "" if batch is None else f", against a batch of {batch:,} in training (dashed)"
    text = f"Noise and signal are equal at {number(whole.value)} {unit} ({interval(whole)}){caution}{against}."
    kinds = {name: each for name, each in rows.items() if name in KIND_QUANTITIES and each.value is not None}
    if len(kinds) > 1:
        least, most = (pick(kinds, key=lambda name: kinds[name].value or 0.0) for pick in (min, max))
        text += f" It is largest in {most} ({short(kinds[most])}) and smallest in {least} ({short(kinds[least])})."
    return text
