"""What evidence predicted of each arm of a trial, against what training with it turned out to be worth."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, plain, style
from gnoise.charts.trial import arm_words
from gnoise.stats.trial import LARGER, judge_trial
from gnoise.trial_records import ArmResult, Trial

_COLOUR = "rgb(43, 140, 190)"
_FARTHEST = 3.0


class _Pair(NamedTuple):
    """An arm's multiples of no remedy's progress a step, each with both ends of its interval."""

    arm: str
    predicted: tuple[float, float, float]
    measured: tuple[float, float, float]


def predicted_against_measured(trial: Trial) -> Chart:
    """Draw one mark an arm: the predicted gain across, the steps without remedy that one of its steps is worth upwards.

    Args:
        trial: with whatever curves it has so far; arms without a prediction or a saving are left out.
    """
    pairs = [pair for pair in map(_pair, judge_trial(trial)) if pair is not None]
    figure = go.Figure()
    if pairs:
        _draw(figure, pairs)
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False, "tickprefix": "×"}
    figure.update_xaxes(grid | {"title": "predicted: progress a step"})
    figure.update_yaxes(grid | {"title": "measured: steps a step is worth"})
    titles = ["arm", "predicted", "predicted low", "predicted high", "measured", "measured low", "measured high"]
    table = pd.DataFrame([(arm_words(p.arm), *p.predicted, *p.measured) for p in pairs], columns=titles)
    return Chart(style(figure, 360), _finding(pairs), table)


def _pair(result: ArmResult) -> _Pair | None:
    if result.predicted is None or result.tokens_saved is None or result.low is None or result.high is None:
        return None
    cost = 2.0 if result.arm == LARGER else 1.0
    measured = [cost / max(1.0 - share, 1e-3) for share in (result.tokens_saved, result.low, result.high)]
    return _Pair(result.arm, result.predicted, (measured[0], measured[1], measured[2]))


def _draw(figure: go.Figure, pairs: Sequence[_Pair]) -> None:
    ends = [x for pair in pairs for x in (*pair.predicted, *pair.measured)]
    low, high = min(1.0, *ends), min(max(1.0, *ends), _FARTHEST)
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": GREY, "dash": "dash"},
        name="as predicted",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[pair.predicted[0] for pair in pairs],
        y=[pair.measured[0] for pair in pairs],
        error_x=_bars([pair.predicted for pair in pairs]),
        error_y=_bars([pair.measured for pair in pairs]),
        mode="markers+text",
        text=[plain(arm_words(pair.arm)) for pair in pairs],
        textposition="top center",
        marker={"color": _COLOUR, "size": 8},
        hovertemplate="%{text}: predicted ×%{x:.3f}, measured ×%{y:.3f}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _bars(values: Sequence[tuple[float, float, float]]) -> dict[str, object]:
    return {
        "array": [high - value for value, _, high in values],
        "arrayminus": [value - low for value, low, _ in values],
        "color": GREY,
        "thickness": 1,
    }


def _finding(pairs: Sequence[_Pair]) -> str:
    if not pairs:
        return "No arm has both a prediction and a measured saving yet."
    said = [
        f"{arm_words(pair.arm)} ×{pair.predicted[0]:.3f} and ×{pair.measured[0]:.2f} "
        f"({pair.measured[1]:.2f} to {pair.measured[2]:.2f})"
        for pair in pairs
    ]
    return f"Predicted and measured progress a step, as multiples of no remedy's: {'; '.join(said)}."
