"""The gradient's norm, draw by draw, with the clip line and the examples behind the loudest."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from gnoise.charts.chart import GREY, Chart, style, thinned
from gnoise.charts.phrases import number, plural
from gnoise.charts.tables import advice
from gnoise.records import DrawSample, Estimate, NormSample, RunInfo

_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_NAMED, _MOST_NAMED = 8, 500
_COLUMNS = ["draw", "norm", "times_median", "loudest_example", "its_norm", "its_loss"]


def norm_series(info: RunInfo, draws: DrawSample, norms: NormSample, estimates: Sequence[Estimate]) -> Chart:
    """Draw the norm of every draw's gradient before any clipping, the largest with their loudest example.

    Of more than 5,000 draws the smallest and largest of each stretch are drawn; the table has them all.

    Args:
        info: of the run; its checkpoint's global clip threshold is the line.
        draws: what was drawn.
        norms: of the whole model.
        estimates: of the whole model among others.
    """
    series = np.sqrt(norms.draw_sq_norms)
    if not series.size or not np.isfinite(series).all():
        why = "no draw was recorded" if not series.size else "a norm is not finite"
        return Chart(style(go.Figure(), 120), f"No norms to draw: {why}.", pd.DataFrame(columns=_COLUMNS))
    table = _table(series, draws, norms)
    clip = _threshold(info)
    return Chart(_draw(table, clip, info), _finding(table, clip, info, estimates), table)


def _threshold(info: RunInfo) -> float | None:
    clip = info.optimizer.get("clip_global_norm")
    return float(clip) if isinstance(clip, int | float) and clip > 0.0 else None


def _table(series: Float[np.ndarray, " draws"], draws: DrawSample, norms: NormSample) -> pd.DataFrame:
    rows = np.arange(series.size)
    loudest = norms.example_sq_norms.argmax(1)
    median = float(np.median(series))
    return pd.DataFrame(
        {
            "draw": rows,
            "norm": series,
            "times_median": series / median if median > 0.0 else np.ones(series.size),
            "loudest_example": draws.example_ids[rows, loudest],
            "its_norm": np.sqrt(norms.example_sq_norms[rows, loudest]),
            "its_loss": draws.example_losses[rows, loudest],
        }
    )


def _draw(table: pd.DataFrame, clip: float | None, info: RunInfo) -> go.Figure:
    figure = go.Figure()
    values = table["norm"].to_numpy()
    kept, named = thinned(values), np.argsort(-values, kind="stable")[:_NAMED]
    said = [
        f"{info.example} {example}: norm {number(norm)}, loss {number(loss)}"
        for example, norm, loss in table[["loudest_example", "its_norm", "its_loss"]].itertuples(index=False, name=None)
    ]
    joined = "lines+markers" if values.size <= _MOST_NAMED else "lines"  # thousands of marks take seconds to draw
    for places, colour, symbol, mode in ((kept, _BLUE, "circle", joined), (named, _ORANGE, "diamond", "markers")):
        is_named = len(places) <= _MOST_NAMED
        figure.add_scatter(
            x=places,
            y=values[places],
            mode=mode,
            line={"width": 1, "color": colour},
            marker={"size": 4 if colour == _BLUE else 9, "color": colour, "symbol": symbol},
            text=[said[place] for place in places] if is_named else None,
            hovertemplate=f"draw %{{x}}: %{{y:.4g}}{'; loudest %{text}' if is_named else ''}<extra></extra>",
        )
    if clip is not None:
        words = f"clip threshold {clip:g}"
        figure.add_hline(y=clip, line={"color": _ORANGE, "dash": "dash", "width": 1.5}, annotation_text=words)
    figure.add_hline(y=float(np.median(values)), line={"color": GREY, "dash": "dot"}, annotation_text="median")
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "draw"})
    figure.update_yaxes(grid | {"title": "gradient norm before clipping", "rangemode": "tozero"})
    figure.update_layout(showlegend=False)
    return style(figure, 360)


def _finding(table: pd.DataFrame, clip: float | None, info: RunInfo, estimates: Sequence[Estimate]) -> str:
    largest = table.loc[table["norm"].idxmax()]
    first = (
        f"The largest of {len(table)} gradients, each of {info.examples_per_draw} {plural(info.example)} and before "
        f"clipping, is {number(float(largest['times_median']))} times the median norm "
        f"{number(float(np.median(table['norm'])))}"
    )
    named = (
        f"its loudest {info.example} is {int(largest['loudest_example'])} (norm {number(float(largest['its_norm']))})"
    )
    rate = next((each for each in estimates if each.layer is None and each.quantity == "clip_rate"), None)
    if clip is None:
        return f"{first}; {named}; no clip threshold is in the checkpoint."
    if rate is None or rate.value is None:
        why = "" if rate is None else f": {advice(rate)}"
        return f"{first}; {named}; how often the threshold {clip:g} fires is not known{why}."
    low, high = rate.low or 0.0, 1.0 if rate.high is None else rate.high
    fires = f"{rate.value:.1%} of draws (95% interval {low:.1%} to {high:.1%})"
    return f"{first}; {named}; the checkpoint's threshold {clip:g} would cut {fires}."
