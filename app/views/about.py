"""What was run, and how to repeat it."""

from dataclasses import asdict

import pandas as pd
import streamlit as st

from gnoise.charts.ladder import optimizer_words
from gnoise.runfile import Run


def render(run: Run) -> None:
    """Show the command, and everything the run file says of itself."""
    st.caption("The command that made it")
    st.code(run.info.command, language="bash", wrap_lines=True)
    told = asdict(run.info) | {"judged_under": optimizer_words(run.info) or "under the checkpoint's own optimizer"}
    rows = [(name.replace("_", " "), _text(value)) for name, value in told.items() if name != "command"]
    rows += [("layers", str(len(run.layers))), ("state", str(run.state)), ("file", str(run.path))]
    st.dataframe(pd.DataFrame(rows, columns=["what", "value"]), hide_index=True, row_height=28, height=620, key="about")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "–"
    return "–" if value is None else str(value)
