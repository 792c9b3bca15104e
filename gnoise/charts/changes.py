"""What changed between two runs, in words and rows."""

from collections.abc import Sequence

from gnoise.charts.phrases import number
from gnoise.quantities import QUANTITIES, SHARE
from gnoise.stats.changes import LOSS, Change

TITLES = ("layer", "quantity", "first", "second", "change (95% interval)", "pairs", "q")
"""Columns of :func:`change_rows`."""
_MODEL = "the whole model"
_FIRST = (LOSS, "b_simple", "draw_norm", "grad_sq_norm", "trace_cov", "spike_ratio", "clip_rate")


def changes_headline(changes: Sequence[Change]) -> str:
    """Say in one sentence whether anything changed for sure, and what most of all.

    Args:
        changes: of :func:`gnoise.runfile.compare`.
    """
    sure = [each for each in changes if each.is_sure]
    layers = {each.layer for each in changes if each.layer is not None}
    if not sure:
        return f"Nothing surely changed: {len(layers)} layers in common."
    moved = {each.layer for each in sure if each.layer is not None}
    model = next((each for each in sure if each.layer is None and each.quantity == "b_simple"), None)
    scale = "" if model is None else f" The model's noise scale is {change_words(model)}."
    return f"{len(moved)} of {len(layers)} layers surely changed in something.{scale}"


def change_words(change: Change) -> str:
    """Say a change with its interval: ``× 1.40 (1.20 to 1.65)`` or ``−0.30 (−0.41 to −0.19)``.

    Args:
        change: with or without a number.
    """
    if change.change is None:
        return change.status.advice
    unit = QUANTITIES[change.quantity].unit if change.quantity in QUANTITIES else ""
    ends = [None if end is None else _amount(end, change.ratio, unit) for end in (change.low, change.high)]
    middle = f"{'× ' if change.ratio else ''}{_amount(change.change, change.ratio, unit)}"
    if ends[0] is not None and ends[1] is not None:
        return f"{middle} ({ends[0]} to {ends[1]})"
    if ends[0] is not None:
        return f"{middle} (≥ {ends[0]})"
    return f"{middle} (≤ {ends[1]})" if ends[1] is not None else f"{middle} (no interval)"


def change_rows(changes: Sequence[Change], *, layers: int) -> list[tuple[str, ...]]:
    """Write the model's main quantities, and the surest change of each layer, as rows of text.

    Args:
        changes: of :func:`gnoise.runfile.compare`.
        layers: rows of layers, at most.
    """
    by_name = {each.quantity: each for each in changes if each.layer is None}
    model = [by_name[name] for name in _FIRST if name in by_name]
    sure = sorted((each for each in changes if each.layer is not None and each.is_sure), key=_surest)
    surest = {each.layer: each for each in reversed(sure)}  # of each layer the first
    return [_row(each) for each in [*model, *sorted(surest.values(), key=_surest)[:layers]]]


def _surest(change: Change) -> tuple[float, str, str]:
    p_value = 1.0 if change.p_value is None else change.p_value
    return p_value, str(change.layer), change.quantity


def _row(change: Change) -> tuple[str, ...]:
    words = "mean loss" if change.quantity == LOSS else QUANTITIES[change.quantity].words
    return (
        _MODEL if change.layer is None else change.layer,
        words,
        *("–" if value is None else number(value) for value in (change.first, change.second)),
        change_words(change),
        "same draws" if change.paired else "–",
        "–" if change.q_value is None else "< 0.0001" if change.q_value < 1e-4 else f"{change.q_value:.2g}",
    )


def _amount(value: float, ratio: bool, unit: str) -> str:
    if ratio:
        return number(value)
    return f"{value:+.1%}" if unit == SHARE else f"{value:+.3g}"
