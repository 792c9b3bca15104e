"""The remedy ladder: what each remedy would have bought, against none and against a larger batch."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, style
from gnoise.records import Evidence, EvidenceRole, Remedy, RunInfo
from gnoise.rules.matters import (
    interval_words,
    nearest_to_paying,
    range_words,
    saving_words,
    surely_little,
    surely_matters,
)
from gnoise.stats.evidence import judged_under

_BLUE, _ORANGE = "rgb(43, 140, 190)", "rgb(230, 97, 1)"
_BATCH = "batch"
_COLUMNS = ["remedy", "setting", "gain", "low", "high", "bias_floor", "as_a_batch_times", "p_value", "q_value"]
_SAVED = ["tokens_saved", "tokens_saved_low", "tokens_saved_high"]


def ladder(evidence: Sequence[Evidence], *, layer: str | None, info: RunInfo | None = None) -> Chart:
    """Draw every remedy's gain with its interval, its bias floor, and larger batches as a ruler.

    Args:
        evidence: of the run.
        layer: whose ladder; ``None`` for the whole model.
        info: of the run, which says under which optimizer that is; left out, nothing is said of it.
    """
    rungs, anchors = _rungs(evidence, layer), _anchors(evidence, layer)
    table = pd.DataFrame([_record(each) for each in [*rungs, *anchors]], columns=[*_COLUMNS, *_SAVED])
    finding = ladder_sentence(evidence, layer=layer, info=info)
    if not rungs:
        return Chart(style(go.Figure(), 120), finding, table)
    return Chart(_draw(rungs, anchors), finding, table)


def ladder_sentence(evidence: Sequence[Evidence], *, layer: str | None, info: RunInfo | None = None) -> str:
    """Say in one sentence whether any remedy pays, how much, and what a larger batch would buy instead.

    Args:
        evidence: of the run.
        layer: whose; ``None`` for the whole model.
        info: of the run, which says under which optimizer that is; left out, nothing is said of it.
    """
    under = judged_words(info)
    best = nearest_to_paying(evidence, layer)
    if best is None:
        return "No remedy was judged in this run yet: run gnoise analyze."
    if best.gain is None or best.low is None:
        return f"No remedy could be judged: {best.status.advice}."
    doubled = next((each.gain for each in _anchors(evidence, layer) if each.params.get("times") == 2.0), None)
    ruler = "" if doubled is None else f" Twice the batch would buy {doubled:.2f} times."
    interval = interval_words(best.low, best.high)
    whose = "the whole model's" if layer is not None and best.remedy == Remedy.LAYERWISE_LR else "the"
    gain = f"{best.gain:.2f} times {whose} progress per step ({interval})"
    saved = f"; {words}" if (words := saving_words(best)) else ""
    if surely_matters(best):
        as_much = "" if best.batch is None else f", as much as {best.batch:.1f} times the batch"
        return f"{best.remedy} ({best.setting}) pays: {gain}{as_much}{under}{saved}."
    surely = "" if surely_little(best) else " surely"
    return f"Nothing{surely} pays: the best, {best.remedy}, buys {gain}{under}{saved}.{ruler}"


def judged_words(info: RunInfo | None) -> str:
    """Say, after a gain, under which optimizer it was judged; nothing where that is the checkpoint's own.

    Args:
        info: of the run.
    """
    words = "" if info is None else optimizer_words(info)
    return f", judged {words}" if words else ""


def optimizer_words(info: RunInfo) -> str:
    """Say under which optimizer remedies were judged: ``under Muon …``; nothing where it is the checkpoint's own.

    Args:
        info: of the run.
    """
    return judged_under(info.optimizer, info.judged_under)


def ladder_line(evidence: Sequence[Evidence], *, info: RunInfo | None = None) -> str:
    """Say in a line what remedies would do for the whole model; empty where none could be judged.

    Args:
        evidence: of the run.
        info: of the run, which says under which optimizer that is; left out, nothing is said of it.
    """
    under = judged_words(info)
    best = nearest_to_paying(evidence, None)
    if best is None or best.gain is None or best.low is None:
        return ""
    gain = f"×{best.gain:.2f} progress a step ({range_words(best.low, best.high)}){under}"
    gain = ", ".join(filter(None, (gain, saving_words(best))))
    if surely_matters(best):
        return f"whole model: {best.remedy} ({best.setting}) pays, {gain}"
    doubled = next((each.gain for each in _anchors(evidence, None) if each.params.get("times") == 2.0), None)
    ruler = "" if doubled is None else f", twice the batch ×{doubled:.2f}"
    surely = "" if surely_little(best) else " surely"
    return f"whole model: no remedy{surely} pays; best {best.remedy}, {gain}{ruler}"


def ladder_table(evidence: Sequence[Evidence], *, layer: str | None) -> list[tuple[str, str, str, str, str]]:
    """Write the ladder as rows of text: remedy, setting, gain with interval, bias floor, batch that buys as much.

    Args:
        evidence: of the run.
        layer: whose; ``None`` for the whole model.
    """
    return [
        (
            "a larger batch" if each.remedy == _BATCH else each.remedy,
            each.setting,
            _gain(each),
            "–" if each.bias_floor is None or each.remedy == _BATCH else f"{each.bias_floor:.3f}",
            "–" if each.batch is None else f"× {each.batch:.2f}",
        )
        for each in [*_rungs(evidence, layer), *_anchors(evidence, layer)]
    ]


def _gain(each: Evidence) -> str:
    return f"{each.gain:.3f} ({range_words(each.low, each.high, digits=3)})"


def _rungs(evidence: Sequence[Evidence], layer: str | None) -> list[Evidence]:
    found = [each for each in evidence if each.layer == layer and each.role is EvidenceRole.REMEDY]
    return sorted((each for each in found if each.gain is not None), key=lambda each: each.gain or 0.0, reverse=True)


def _anchors(evidence: Sequence[Evidence], layer: str | None) -> list[Evidence]:
    return [each for each in evidence if each.layer == layer and each.remedy == _BATCH and each.gain is not None]


def _record(each: Evidence) -> tuple[object, ...]:
    numbers = (each.gain, each.low, each.high, each.bias_floor, each.batch, each.p_value, each.q_value)
    saved = (each.tokens_saved, each.tokens_saved_low, each.tokens_saved_high)
    return (each.remedy, each.setting, *numbers, *saved)


def _draw(rungs: Sequence[Evidence], anchors: Sequence[Evidence]) -> go.Figure:
    figure = go.Figure()
    names = [each.remedy for each in rungs]
    gains = [each.gain or 0.0 for each in rungs]
    sure = [surely_matters(each) for each in rungs]
    figure.add_scatter(
        x=gains,
        y=names,
        mode="markers",
        name="gain, 95% interval",
        error_x={
            "type": "data",
            "symmetric": False,
            "color": GREY,  # on light and dark pages alike
            "thickness": 2,
            "array": [(each.high or gain) - gain for each, gain in zip(rungs, gains, strict=True)],
            "arrayminus": [gain - (each.low or 0.0) for each, gain in zip(rungs, gains, strict=True)],
        },
        marker={
            "size": 10,
            "color": [_ORANGE if yes else _BLUE for yes in sure],
            "symbol": ["diamond" if yes else "circle" for yes in sure],
        },
        hovertext=[f"{each.remedy} ({each.setting}): {_gain(each)}" for each in rungs],
        hoverinfo="text",
    )
    floors = [each for each in rungs if each.bias_floor is not None]
    figure.add_scatter(
        x=[each.bias_floor for each in floors],
        y=[each.remedy for each in floors],
        mode="markers",
        name="bias floor: the gain without any noise",
        marker={"size": 10, "symbol": "line-ns-open", "color": GREY, "line": {"width": 2}},
        hovertext=[f"{each.remedy}: {each.bias_floor:.3f} if all noise were gone" for each in floors],
        hoverinfo="text",
    )
    figure.add_vline(x=1.0, line={"color": GREY, "width": 1.5}, annotation_text="none", annotation_position="top")
    for anchor in anchors:
        figure.add_vline(
            x=anchor.gain,
            line={"color": GREY, "dash": "dot", "width": 1.5},
            annotation_text=f"batch {anchor.setting}",
            annotation_position="top",
        )
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "progress per step, 1 is no remedy"})
    figure.update_yaxes({"autorange": "reversed", "showgrid": False})
    figure.update_layout(legend={"orientation": "h", "y": -0.25})
    styled = style(figure, 320)
    styled.update_layout(margin={"t": 28})
    return styled
