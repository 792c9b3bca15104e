"""What training both ways said: tokens saved, curves, and predicted beside measured."""

import shlex

import pandas as pd
import streamlit as st

from gnoise.charts.predicted import predicted_against_measured
from gnoise.charts.trial import (
    TABLE_TITLES,
    state_words,
    trial_about,
    trial_curves,
    trial_sentences,
    trial_table,
)
from gnoise.runfile import Run
from gnoise.trial_records import Trial

from ..elements import show_chart, show_headline, show_lines

_SELECT = "trial"


def render(run: Run) -> None:
    """Show the trial picked, the latest one first."""
    trials = {f"{trial.number}: {', '.join(trial.plan.arms)}": trial for trial in reversed(run.trials)}
    if not trials:
        st.info("No trial yet. Train both ways from this checkpoint, in a terminal:")
        st.code(f"gnoise trial {shlex.quote(str(run.path))} --budget 10m", language="bash")
        return
    label = next(iter(trials))
    if len(trials) > 1:
        label = st.selectbox("Trial", list(trials), key=_SELECT, bind="query-params")
    _show(trials[label], run.info.path_steps)


def _show(trial: Trial, path_steps: int) -> None:
    first, *others = trial_sentences(trial)
    state = state_words(trial)
    show_headline(first, f"{trial_about(trial)}{'; ' + state if state else ''}")
    picture, words = st.columns([3, 2], gap="medium")
    with picture:
        show_chart(trial_curves(trial), key="trial-curves")
    with words:
        show_lines(others)
    table = pd.DataFrame(trial_table(trial), columns=list(TABLE_TITLES))
    st.dataframe(table, hide_index=True, row_height=28, key="trial-arms")
    st.caption(
        "Tokens saved on the way to the same loss, with 95% intervals, read off training 10% longer without remedy. "
        f"Predicted: progress a step by the run's evidence, {_where(path_steps)}."
    )
    compared = predicted_against_measured(trial)
    if compared.figure.data:
        show_chart(compared, key="trial-predicted")


def _where(path_steps: int) -> str:
    if path_steps:
        return f"along {path_steps} steps from the checkpoint"
    return (
        "at the checkpoint's weights, frozen, where noise costs less than on the way: "
        "gnoise profile --draws 128 --path 64 predicts nearer to what a trial measures"
    )
