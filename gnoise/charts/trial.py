"""What a trial says: a sentence an arm, a table, and how far each arm's loss is from that without remedy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gnoise.charts.chart import GREY, Chart, plain, style
from gnoise.records import Status
from gnoise.stats.intervals import t_interval
from gnoise.stats.trial import LARGER, LONGER, MORE_STEPS, NONE, TUNING, final_losses, judge_trial
from gnoise.trial_records import ArmResult, Trial, TrialCurve, TrialState

_COLOURS = ("rgb(230, 97, 1)", "rgb(43, 140, 190)", "rgb(94, 60, 153)", "rgb(27, 158, 119)", "rgb(166, 86, 40)")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_FARTHEST = -1.0  # twice the tokens: farther down only "worse" is known
_WORDS = {
    NONE: "no remedy",
    LONGER: f"no remedy, {MORE_STEPS:.0%} more steps",
    LARGER: "no remedy, twice the batch",
    "as_trained": "clipped as it was trained",
}
_STATES = {
    TrialState.RUNNING: "not finished: the same command goes on",
    TrialState.OUT_OF_TIME: "out of time: the same command goes on",
    TrialState.SETTLED: "settled before all seeds were needed",
}


def trial_sentences(trial: Trial) -> list[str]:
    """Say in a sentence each what the arms saved: the one asked for first, the anchors last.

    Args:
        trial: with whatever curves it has so far.
    """
    results = judge_trial(trial)
    remedies = [result for result in results if result.arm not in (NONE, LONGER, LARGER)]
    anchors = [result for result in results if result.arm == LARGER]
    nothing = [] if remedies else ["No remedy was tried: the run recommends none. Try --arms clip,shrink,stabilize."]
    return nothing + [trial_sentence(result) for result in [*remedies, *anchors]]


def trial_about(trial: Trial) -> str:
    """Say what was trained.

    Args:
        trial: any.
    """
    plan = trial.plan
    rates = sorted({curve.learning_rate for curve in trial.curves if curve.arm == NONE})
    tuned = ", ".join(f"{rate:.3g}" for rate in rates) or "not tuned yet"
    state = "with the checkpoint's state" if plan.with_state else "started afresh"
    return (
        f"{len(plan.seeds)} seeds at most, {plan.steps} steps of {plan.batch_size} examples, "
        f"{plan.optimizer.get('name', 'its optimizer')} {state}, learning rate {tuned}, "
        f"loss on {plan.held_out_examples} held-out examples"
    )


def trial_sentence(result: ArmResult) -> str:
    """Say what one arm saved, or what the trial could have seen.

    Args:
        result: of an arm beside none.
    """
    name = arm_words(result.arm)
    if result.difference == result.difference_low == result.difference_high == 0.0:
        return f"{name}: the same training as without remedy, to the last digit."
    if result.tokens_saved is None or result.low is None or result.high is None:
        return f"{name}: no saving to report: {result.status.advice}."
    interval = f"95% interval {_percent(result.low)} to {_percent(result.high)}, {result.seeds} paired seeds"
    if result.low > 0.0:
        return f"{name} saves {result.tokens_saved:.1%} of the tokens to the same loss ({interval})."
    if result.high < 0.0:
        more, least, most = (_cost(share) for share in (result.tokens_saved, result.high, result.low))
        interval = f"95% interval {least} to {most}, {result.seeds} paired seeds"
        return f"{name} costs {more} more tokens to the same loss ({interval})."
    seen = "" if result.detectable is None else f"; it could have seen {result.detectable:.1%}"
    return f"{name}: no difference detected, {_percent(result.tokens_saved)} of the tokens saved ({interval}){seen}."


def trial_line(trial: Trial, curve: TrialCurve) -> str:
    """Say in a line how a training ended, and how far from none's of the same seed.

    Args:
        trial: with the curves so far.
        curve: the one that ended.
    """
    name = f"{arm_words(curve.arm)}, seed {curve.seed}"
    if curve.status is not Status.OK:
        return f"{name}: {curve.status.advice}"
    if curve.arm.startswith(TUNING):
        return f"{curve.arm}, learning rate {curve.learning_rate:.3g}: {curve.loss[-1]:.4f}"
    none = final_losses(trial, NONE).get(curve.seed)
    apart = "" if none is None or curve.arm == NONE else f", {curve.loss[-1] - none:+z.4f} beside no remedy"
    return f"{name}: {curve.loss[-1]:.4f}{apart}"


def state_words(trial: Trial) -> str:
    """Say how far a trial came; empty where all its seeds are done.

    Args:
        trial: any.
    """
    return _STATES.get(trial.state, "")


def arm_words(arm: str) -> str:
    """Name an arm as people read it.

    Args:
        arm: its name in the plan.
    """
    return _WORDS.get(arm, arm)


def trial_table(trial: Trial) -> list[tuple[str, ...]]:
    """Write results as rows of text: arm, seeds, loss, difference, tokens saved, predicted gain, time, trouble.

    Args:
        trial: with whatever curves it has so far.
    """
    return [
        (
            arm_words(each.arm),
            str(each.seeds),
            "–" if each.loss is None else f"{each.loss:.4f}",
            _difference(each),
            _saved(each),
            "–" if each.predicted is None else "×{:.3f} ({:.3f} to {:.3f})".format(*each.predicted),
            "–" if each.overhead is None else f"{each.overhead:+z.0%}",
            _trouble(each),
        )
        for each in judge_trial(trial)
    ]


TABLE_TITLES = ("arm", "seeds", "loss", "less none's (95% interval)", "tokens saved", "predicted", "time", "trouble")
"""Columns of :func:`trial_table`."""


def trial_curves(trial: Trial) -> Chart:
    """Draw each arm's held-out loss less none's along the training, mean over seeds with its 95% band.

    Args:
        trial: with whatever curves it has so far.
    """
    figure, rows = go.Figure(), []
    for number, arm in enumerate(arm for arm in trial.plan.arms if arm not in (NONE, LONGER)):
        steps, mean, low, high = _band(trial, arm)
        rows += [(arm, *row) for row in zip(steps, mean, low, high, strict=True)]
        _draw(figure, number, arm, steps, mean, low, high)
    figure.add_hline(y=0.0, line={"color": GREY, "width": 1.5})
    grid = {"gridcolor": "rgba(127, 127, 127, 0.2)", "zeroline": False}
    figure.update_xaxes(grid | {"title": "steps from the checkpoint"})
    figure.update_yaxes(grid | {"title": "held-out loss less no remedy's"})
    figure.update_layout(legend={"orientation": "h", "y": -0.25})
    table = pd.DataFrame(rows, columns=["arm", "step", "difference", "low", "high"])
    return Chart(style(figure, 360), _apart(trial), table)


def _apart(trial: Trial) -> str:
    """Say how far from none's each arm's loss ended."""
    ends = [
        f"{arm_words(each.arm)} {_difference(each)}"
        for each in judge_trial(trial)
        if each.arm not in (NONE, LONGER) and each.difference is not None
    ]
    return (
        f"Held-out loss less no remedy's, with 95% intervals: {'; '.join(ends)}." if ends else "No pair has ended yet."
    )


def _band(trial: Trial, arm: str) -> tuple[list[int], list[float], list[float], list[float]]:
    curves = {
        name: {c.seed: c for c in trial.curves if c.arm == name and c.status is Status.OK} for name in (arm, NONE)
    }
    paired = sorted(curves[arm].keys() & curves[NONE].keys())
    if len(paired) < 2:
        return [], [], [], []
    looks = min(len(curves[name][seed].loss) for name in (arm, NONE) for seed in paired)
    apart = np.array([np.subtract(curves[arm][s].loss[:looks], curves[NONE][s].loss[:looks]) for s in paired])
    ends = [
        t_interval(float(column.mean()), float(column.std(ddof=1)) / len(paired) ** 0.5, len(paired) - 1)
        for column in apart.T
    ]
    steps = [seen // trial.plan.batch_size for seen in curves[NONE][paired[0]].examples[:looks]]
    return steps, [end.value for end in ends], [end.low for end in ends], [end.high for end in ends]


def _draw(
    figure: go.Figure,
    number: int,
    arm: str,
    steps: Sequence[int],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    figure.add_scatter(
        x=[*steps, *reversed(steps)],
        y=[*high, *reversed(low)],
        mode="lines",
        fill="toself",
        fillcolor=colour.replace("rgb", "rgba").replace(")", ", 0.15)"),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[*steps],
        y=[*mean],
        mode="lines+markers",
        name=plain(arm_words(arm)),
        line={"color": colour, "dash": _DASHES[number % len(_DASHES)]},
        hovertemplate="%{x} steps: %{y:+.4f}<extra></extra>",
    )


def _difference(each: ArmResult) -> str:
    if each.difference is None or each.difference_low is None or each.difference_high is None or each.arm == NONE:
        return "–"
    return f"{each.difference:+z.4f} ({each.difference_low:+z.4f} to {each.difference_high:+z.4f})"


def _saved(each: ArmResult) -> str:
    if each.tokens_saved is None or each.low is None or each.high is None:
        return "–"
    return f"{_percent(each.tokens_saved)} ({_percent(each.low)} to {_percent(each.high)})"


def _trouble(each: ArmResult) -> str:
    parts = [f"{each.spikes} spikes"] * bool(each.spikes) + [f"{each.ended_early} broke off"] * bool(each.ended_early)
    return ", ".join(parts) or "–"


def _cost(share: float) -> str:
    """Say how many more tokens a negative saving is."""
    return f"{-share:.1%}" if share > _FARTHEST else "over 100%"


def _percent(share: float) -> str:
    return f"{share:+z.1%}" if share > _FARTHEST else f"below {_FARTHEST:+.0%}"
