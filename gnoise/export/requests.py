"""Recommendations in, as a document, a JSON file or a run file; checked requests out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gnoise.errors import unreadable
from gnoise.export.document import RECOMMENDATIONS_FORMAT, RECOMMENDATIONS_VERSION, recommendations_document
from gnoise.records import JsonValue, Remedy, Status
from gnoise.runfile import is_run, open_run


@dataclass(frozen=True)
class Request:
    """One recommendation to be put into effect.

    Attributes:
        layer: parameter name; ``None`` for the whole model.
        remedy: never ``none``.
        params: as the rule gave them.
        shape: of the tensor when it was profiled; ``None`` where the document does not say.
    """

    layer: str | None
    remedy: Remedy
    params: Mapping[str, JsonValue]
    shape: tuple[int, ...] | None = None


def load_requests(source: str | Path | Mapping[str, JsonValue]) -> list[Request]:
    """Read what is to be done; entries that say ``none`` or lack evidence (status not ``ok``) are left out.

    Raises:
        UserError: missing, not readable (exit 3), of another format or a newer version.
    """
    document = source if isinstance(source, Mapping) else _read(Path(source))
    origin = "this dictionary" if isinstance(source, Mapping) else str(source)
    if document.get("format") != RECOMMENDATIONS_FORMAT:
        raise unreadable(
            f"expected format {RECOMMENDATIONS_FORMAT!r} in {origin}, got {document.get('format')!r}; "
            "try gnoise export RUN --format json"
        )
    version = document.get("version")
    if version != RECOMMENDATIONS_VERSION:
        raise unreadable(
            f"expected version {RECOMMENDATIONS_VERSION} of {RECOMMENDATIONS_FORMAT} in {origin}, got {version!r}; "
            "try a newer gnoise, or export the run again with this one"
        )
    entries = document.get("recommendations")
    if not isinstance(entries, list):
        raise unreadable(
            f"expected a list of recommendations in {origin}, got {type(entries).__name__}; try gnoise export"
        )
    requests = [_request(entry, origin) for entry in entries]
    return [request for request in requests if request is not None]


def _read(path: Path) -> Mapping[str, JsonValue]:
    if not path.is_file():
        raise unreadable(f"expected recommendations at {path}, got no such file; try gnoise export RUN --format json")
    if is_run(path):
        with open_run(path) as run:
            return recommendations_document(run)
    try:
        document = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise unreadable(
            f"expected JSON or a run file, got {path}: {error}; try gnoise export RUN --format json"
        ) from error
    if not isinstance(document, dict):
        raise unreadable(
            f"expected format {RECOMMENDATIONS_FORMAT!r} in {path}, got {type(document).__name__}; "
            "try gnoise export RUN --format json"
        )
    return document


def _request(entry: JsonValue, origin: str) -> Request | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("params", {}), dict):
        raise unreadable(
            f"expected recommendations to be objects in {origin}, got {entry!r}; try exporting the run again"
        )
    layer, remedy = entry.get("layer"), str(entry.get("remedy"))
    if "layer" not in entry:
        raise unreadable(
            f"expected a layer, or null for the whole model, in each entry of {origin}, got {entry!r}; "
            "try exporting the run again"
        )
    if remedy not in [str(known) for known in Remedy] or not isinstance(layer, str | None):
        raise unreadable(
            f"expected a remedy among {', '.join(Remedy)} for {layer}, got {remedy!r}; try exporting the run again"
        )
    status = entry.get("status", Status.OK)
    if status not in [str(known) for known in Status]:
        raise unreadable(f"expected a known status for {layer}, got {status!r}; try exporting the run again")
    if remedy == Remedy.NONE or status != Status.OK:
        return None
    params = entry.get("params")
    return Request(layer, Remedy(remedy), params if isinstance(params, dict) else {}, _shape(entry, layer))


def _shape(entry: Mapping[str, JsonValue], layer: str | None) -> tuple[int, ...] | None:
    match entry.get("shape"):
        case None:
            return None
        case [*sides] if all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            return tuple(int(str(side)) for side in sides)
        case other:
            raise unreadable(f"expected a shape like [4, 3] for {layer}, got {other!r}; try exporting the run again")
