"""Out of a run file: JSON documents and files."""

from gnoise.export.batch_schedule import BatchSchedule, batch_schedule, load_schedule, schedule_document
from gnoise.export.document import (
    layer_document,
    recommendations_document,
    show_document,
)
from gnoise.export.files import FORMATS, estimates_table, export_run, to_json

__all__ = [
    "FORMATS",
    "BatchSchedule",
    "batch_schedule",
    "estimates_table",
    "export_run",
    "layer_document",
    "load_schedule",
    "recommendations_document",
    "schedule_document",
    "show_document",
    "to_json",
]
