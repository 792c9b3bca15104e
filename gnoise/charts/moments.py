"""The noise scale over the moments of one training, beside what its norm layers tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import Chart, plain, style
from gnoise.charts.phrases import number, plural, short
from gnoise.quantities import KIND_QUANTITIES
from gnoise.records import Estimate, Layer, RunInfo
from gnoise.stats.norm_layer_fit import NormLayerFit, fit_norm_layers

_BLUE, _ORANGE = "rgb(55, 126, 184)", "rgb(230, 97, 1)"
_HEIGHT = 340


@dataclass(frozen=True)
class Moment:
    """A checkpoint of a training, and its noise scale.

    Attributes:
        label: of its run.
        info: of its run.
        trained: tokens the checkpoint was trained on, or examples where those have no tokens.
        total: the whole model's noise scale.
        norm: the norm layers'; ``None`` without any.
    """

    label: str
    info: RunInfo
    trained: int
    total: Estimate
    norm: Estimate | None


def moment(label: str, info: RunInfo, estimates: Sequence[Estimate]) -> Moment | None:
    """Make a moment of a run; ``None`` where it does not tell how long was trained, or has no noise scale.

    Args:
        label: of the run.
        info: of the run.
        estimates: of any layers and quantities.
    """
    model = {each.quantity: each for each in estimates if each.layer is None}
    total, norm = model.get("b_simple"), model.get(KIND_QUANTITIES["norm"])
    if info.examples_trained is None or total is None or total.value is None:
        return None
    return Moment(label, info, info.examples_trained * (info.tokens_per_example or 1), total, norm)


def same_training(one: tuple[RunInfo, Sequence[Layer]], other: tuple[RunInfo, Sequence[Layer]]) -> bool:
    """Tell whether two runs can be of one training: same layers, same examples, other weights.

    Args:
        one: a run's information and layers.
        other: another's.
    """
    return alike(one, other) and one[0].checkpoint_sha256 != other[0].checkpoint_sha256


def alike(one: tuple[RunInfo, Sequence[Layer]], other: tuple[RunInfo, Sequence[Layer]]) -> bool:
    """Tell whether two runs have the same layers and the same kind of examples.

    Args:
        one: a run's information and layers.
        other: another's.
    """
    (a, a_layers), (b, b_layers) = one, other
    same_examples = (a.example, a.tokens_per_example) == (b.example, b.tokens_per_example)
    return same_examples and tuple(a_layers) == tuple(b_layers)


def norm_layer_fit(moments: Sequence[Moment]) -> NormLayerFit | None:
    """Fit the whole model's noise scale to the norm layers', over the moments where both have numbers.

    Args:
        moments: of one training.
    """
    pairs = [(each.norm.value, each.total.value) for each in moments if each.norm is not None]
    known = [(norm, total) for norm, total in pairs if norm is not None and total is not None]
    norm, total = (np.array([pair[i] for pair in known], dtype=np.float64) for i in (0, 1))
    return fit_norm_layers(norm, total)


def evolution(moments: Sequence[Moment]) -> Chart:
    """Draw the whole model's noise scale over training with the norm layers' prediction of it.

    Args:
        moments: of one training, in any order.
    """
    ordered = sorted(moments, key=lambda each: each.trained)
    fit = norm_layer_fit(ordered)
    predicted = [_prediction(fit, each) for each in ordered]
    info = ordered[0].info if ordered else None
    unit = "examples" if info is None else plural(info.example)
    table = pd.DataFrame(
        {
            "run": [each.label for each in ordered],
            "trained on": [each.trained for each in ordered],
            "noise scale": [short(each.total) for each in ordered],
            "of norm layers": [short(each.norm) for each in ordered],
            "predicted from them": predicted,
        }
    )
    figure = go.Figure()
    if len(ordered) > 1:
        _draw(figure, ordered, predicted, unit)
    return Chart(style(figure, _HEIGHT if len(ordered) > 1 else 10), _finding(ordered, fit, unit), table)


def _draw(figure: go.Figure, moments: Sequence[Moment], predicted: Sequence[float | None], unit: str) -> None:
    trained = [each.trained for each in moments]
    values = [each.total.value or 0.0 for each in moments]
    highs = [value if e.total.high is None else e.total.high for e, value in zip(moments, values, strict=True)]
    figure.add_scatter(
        x=trained,
        y=values,
        mode="lines+markers",
        name="measured",
        line={"color": _BLUE},
        error_y={
            "array": [high - value for high, value in zip(highs, values, strict=True)],
            "arrayminus": [value - (e.total.low or 0.0) for e, value in zip(moments, values, strict=True)],
        },
        hovertext=[plain(f"{each.label}: {short(each.total)}") for each in moments],
        hoverinfo="text",
    )
    if any(value is not None for value in predicted):
        figure.add_scatter(
            x=trained,
            y=predicted,
            mode="markers",
            name="from norm layers",
            marker={"symbol": "x", "size": 10, "color": _ORANGE},
        )
    words = "tokens" if moments[0].info.tokens_per_example else unit
    figure.update_xaxes(title=f"{words} trained on", gridcolor="rgba(127, 127, 127, 0.25)", rangemode="tozero")
    figure.update_yaxes(title=f"noise scale, {unit}", gridcolor="rgba(127, 127, 127, 0.25)", rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "y": 1.08, "x": 0.0})


def _prediction(fit: NormLayerFit | None, moment: Moment) -> float | None:
    if fit is None or moment.norm is None or moment.norm.value is None:
        return None
    return fit.intercept + fit.slope * moment.norm.value


def _finding(moments: Sequence[Moment], fit: NormLayerFit | None, unit: str) -> str:
    if len(moments) < 2:
        return "Profile more checkpoints of this training, and open their runs together, to see the noise scale change."
    first, last = moments[0].total, moments[-1].total
    text = f"Over {len(moments)} moments the noise scale went from {short(first)} to {short(last)} {unit}."
    if fit is None:
        return f"{text} Three moments with norm layers are needed to tell whether those predict it."
    return (
        f"{text} The norm layers' own goes with it: total = {number(fit.intercept)} + {fit.slope:.2f} × theirs (slope "
        f"{fit.slope_low:.2f} to {fit.slope_high:.2f}), r = {fit.r:.3f}, typical error {fit.error:.1%}, "
        f"from {fit.moments} moments."
    )
