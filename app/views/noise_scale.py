"""What the noise scale is, how it changes, and what another batch would buy."""

from collections.abc import Iterator, Sequence

import streamlit as st

from gnoise.charts.batch_cost import CAVEAT, batch_cost, batch_table
from gnoise.charts.depth import noise_by_depth
from gnoise.charts.moments import Moment, evolution, moment, same_training
from gnoise.charts.noise_scale import noise_scale_table, noise_scales
from gnoise.charts.phrases import plural
from gnoise.errors import UserError
from gnoise.export import schedule_document, to_json
from gnoise.export.schedules import schedule_bounds, schedule_through, schedule_words
from gnoise.records import RunInfo
from gnoise.runfile import Run, open_run

from ..elements import show_chart, show_headline, show_lines
from ..findings import findings_of
from ..runs import offered_runs


def render(run: Run) -> None:
    """Show the noise scale of the model, its kinds and layers, what batches cost, and a schedule to take away."""
    info, estimates = run.info, findings_of(run).estimates
    scale = next((each for each in estimates if each.layer is None and each.quantity == "b_simple"), None)
    show_headline("How much of a batch is noise, and what another one would buy", CAVEAT)
    where, what = st.columns([1, 1], gap="medium")
    with where:
        show_chart(noise_scales(info, estimates), key="noise-scales")
    if scale is None:
        return
    with what:
        show_chart(batch_cost(info, scale), key="batch-cost")
    st.dataframe(batch_table(info, scale), hide_index=True, key="purchases", placeholder="–")
    moments = [*_moments(run)]
    depth, over_time = st.columns([1, 1], gap="medium")
    with depth:
        show_chart(noise_by_depth(info, run.layers, estimates), key="noise-by-depth")
    with over_time:
        show_chart(evolution(moments), key="evolution")
        _show_schedule(info, moments)
    st.dataframe(
        noise_scale_table(info, run.layers, estimates),
        hide_index=True,
        height=260,
        key=f"noise scales of {run.path}",
        placeholder="–",
        column_config={
            plural(info.example): st.column_config.NumberColumn(format="%.1f"),
            "tokens": st.column_config.NumberColumn(format="localized", step=1),
            "in Adam's norm": st.column_config.NumberColumn(format="%.1f"),
            "in Muon's norm": st.column_config.NumberColumn(format="%.1f"),
        },
    )


def _moments(run: Run) -> Iterator[Moment]:
    """Find the moments of this run's training among the runs that were handed over."""
    own = moment(run.path.name, run.info, findings_of(run).estimates)
    if own is None:
        return
    yield own
    for label, path in offered_runs().items():
        if path == run.path:
            continue
        try:
            with open_run(path) as other:
                if same_training((run.info, run.layers), (other.info, other.layers)):
                    found = moment(label, other.info, findings_of(other).estimates)
                    if found is not None:
                        yield found
        except UserError:
            continue


def _show_schedule(info: RunInfo, moments: Sequence[Moment]) -> None:
    """Let a batch schedule through the measured noise scales be bounded and downloaded."""
    if not moments:
        show_lines(
            ["A batch schedule needs to know how long the checkpoint was trained, which this one does not tell."]
        )
        return
    unit, (lowest, highest) = plural(info.example), schedule_bounds(moments)
    smallest, largest = st.columns(2)
    low = smallest.number_input(f"Smallest batch, {unit}", 1, value=lowest)
    high = largest.number_input(f"Largest batch, {unit}", low, value=max(low, highest))
    schedule = schedule_through(moments, lowest=low, highest=high)
    show_lines(
        [
            f"{schedule_words(schedule, info)}.",
            "gnoise.remedies.NoiseScaleBatchSchedule reads the file, in a plain loop or in the Hugging Face Trainer.",
        ]
    )
    st.download_button(
        "Download schedule.json",
        data=to_json(schedule_document(schedule)),
        file_name="schedule.json",
        mime="application/json",
        on_click="ignore",
    )
