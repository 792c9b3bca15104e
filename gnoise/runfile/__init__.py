"""The run file: one SQLite file a run, the only contract between collecting and reading."""

from gnoise.runfile.database import FORMAT, check_output
from gnoise.runfile.run import Run, is_run, open_run
from gnoise.runfile.trials import end_trial, start_trial, write_curve
from gnoise.runfile.write import RunWriter, write_findings

__all__ = [
    "FORMAT",
    "Run",
    "RunWriter",
    "check_output",
    "end_trial",
    "is_run",
    "open_run",
    "start_trial",
    "write_curve",
    "write_findings",
]
