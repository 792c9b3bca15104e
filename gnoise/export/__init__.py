"""Out of a run file: JSON documents and files."""

from gnoise.export.document import (
    layer_document,
    recommendations_document,
    show_document,
)
from gnoise.export.files import FORMATS, estimates_table, export_run, to_json

__all__ = [
    "FORMATS",
    "estimates_table",
    "export_run",
    "layer_document",
    "recommendations_document",
    "show_document",
    "to_json",
]
