"""Which run files the dashboard may open: those handed over, never a path out of a URL."""

import json
import os
from collections import Counter
from pathlib import Path

VARIABLE = "GNOISE_APP_RUNS"
"""A JSON list of paths; ``gnoise app`` sets it."""


def offered_runs() -> dict[str, Path]:
    """Map a label to each run handed over; the label is the file's name, or its path where names clash."""
    paths = [Path(each) for each in json.loads(os.environ.get(VARIABLE, "[]"))]
    names = Counter(path.name for path in paths)
    return {path.name if names[path.name] == 1 else str(path): path for path in paths}
