"""The gradient's norm, draw by draw: is it calm, how often does clipping fire, which examples are loud."""

import streamlit as st

from gnoise.charts.norm_series import norm_series
from gnoise.charts.phrases import sentence
from gnoise.runfile import Run

from ..elements import show_chart, show_headline, show_lines
from ..findings import findings_of, norms_of

_QUANTITIES = ("draw_norm", "clip_rate", "spike_ratio", "example_spike_ratio", "quiet_example_share")
_LOUDEST = 12


def render(run: Run) -> None:
    """Show every draw's norm, what is known of them, and the loudest draws by name."""
    estimates = findings_of(run).estimates
    draws, norms = norms_of(run)
    chart = norm_series(run.info, draws, norms, estimates)
    show_headline("Gradient norms, before any clipping", f"{run.path.name} · a draw is a gradient of the mean loss")
    picture, words = st.columns([3, 2], gap="medium")
    with picture:
        show_chart(chart, key="norm-series")
    with words:
        found = {each.quantity: each for each in estimates if each.layer is None}
        show_lines([sentence(found[quantity]) for quantity in _QUANTITIES if quantity in found])
        if not chart.table.empty:
            st.caption("The draws with the largest norms, and the loudest example of each")
            loudest = chart.table.nlargest(_LOUDEST, "norm")
            st.dataframe(
                loudest,
                hide_index=True,
                row_height=28,
                key="loudest-draws",
                column_config={
                    name: st.column_config.NumberColumn(name.replace("_", " "), format="%.4g")
                    for name in ("loudest_example", "norm", "times_median", "its_norm", "its_loss")
                },
            )
