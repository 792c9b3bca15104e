"""Recommendations as the code that does the same by hand, after every remedy has been tried on its settings."""

from collections.abc import Mapping
from pathlib import Path

from gnoise.export.plans import make_plans
from gnoise.export.requests import load_requests
from gnoise.export.snippets import LOOPS, snippet
from gnoise.records import JsonValue
from gnoise.remedies.planned import planned_transform

__all__ = ["LOOPS", "by_hand"]


def by_hand(recommendations: str | Path | Mapping[str, JsonValue], *, loop: str = "torch") -> str:
    """Return Python code that does what :func:`gnoise.apply` does with the same recommendations.

    Args:
        recommendations: path of a ``recommendations.json`` or a run file, or the document itself.
        loop: one of :data:`LOOPS`.

    Raises:
        UserError: unreadable (exit 3), settings that make no sense, or no such loop (exit 2).
    """
    requests = load_requests(recommendations)
    code = snippet(requests, loop=loop)
    for plan in make_plans(requests):
        planned_transform(plan)  # settings that make no sense are not printed
    return code
