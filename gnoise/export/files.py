"""A run's findings as files: JSON, CSV, Parquet."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gnoise.errors import UserError
from gnoise.export.document import Document, recommendations_document
from gnoise.records import Estimate
from gnoise.runfile import Run, check_output

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("json", "csv", "parquet", "schedule")


def export_run(run: Run, path: Path, *, format: str = "json", force: bool = False) -> None:
    """Write the recommendations (JSON), the table of estimates (CSV, Parquet) or the batch schedule of one run.

    Raises:
        UserError: unknown format, the file exists without ``force``, it cannot be written, or the run has no
            noise scale to make a schedule of.
    """
    if format not in FORMATS:
        raise UserError(f"expected one of the formats {', '.join(FORMATS)}, got {format!r}; try --format json")
    check_output(path, force=force)
    if format == "json":
        path.write_text(to_json(recommendations_document(run)) + "\n", encoding="utf-8")
    elif format == "schedule":
        from gnoise.export.schedules import export_schedule  # and with it charts, which reading a schedule needs not

        export_schedule([run], path, force=force)
    elif format == "csv":
        estimates_table(run.estimates).to_csv(path, index=False)
    else:
        estimates_table(run.estimates).to_parquet(path, index=False)


def to_json(document: Document) -> str:
    """Print a document with sorted keys and without NaN, so that equal runs give equal text."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)


def estimates_table(estimates: tuple[Estimate, ...]) -> "pd.DataFrame":
    """One row an estimate; an empty ``layer`` is the whole model."""
    import pandas as pd

    return pd.DataFrame(
        [(e.layer, e.quantity, e.value, e.low, e.high, e.stderr, e.n, str(e.status), e.note) for e in estimates],
        columns=["layer", "quantity", "value", "low", "high", "stderr", "n", "status", "note"],
    )
