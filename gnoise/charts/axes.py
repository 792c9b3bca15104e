"""Axes for pictures without JavaScript: where a value stands, and which ones are labelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_PADDING = 0.05
_WANTED_TICKS = 6
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        is_log: whether ``low`` and ``high`` are logarithms to base 10.
        low: value at ``start``.
        high: value at ``end``; below ``low`` where the axis runs backwards.
        start: pixels.
        end: pixels.
        ticks: value and label of each.
        title: of the axis.
        categories: word to its value, where values are words.
    """

    is_log: bool
    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    title: str
    categories: Mapping[str, float]

    def place(self, values: Iterable[object]) -> Float[np.ndarray, " n"]:
        """Turn values into pixels; NaN for what has no place: ``None``, or 0 on a logarithmic axis."""
        numbers = as_numbers(values, self.categories)
        if self.is_log:
            with np.errstate(divide="ignore", invalid="ignore"):
                numbers = np.log10(numbers)
        share = (numbers - self.low) / (self.high - self.low)
        pixels = self.start + share * (self.end - self.start)
        return np.where(np.isfinite(pixels), pixels, np.nan)

    @property
    def inside(self) -> tuple[tuple[float, str], ...]:
        """Ticks between both ends, in pixels, with their labels."""
        pixels = self.place([value for value, _ in self.ticks])
        first, last = sorted((self.start, self.end))
        pairs = zip(pixels, self.ticks, strict=True)
        return tuple((float(at), label) for at, (_, label) in pairs if first - 0.5 <= at <= last + 0.5)


def as_numbers(values: Iterable[object], categories: Mapping[str, float]) -> Float[np.ndarray, " n"]:
    """Read numbers, words by their category, and NaN for anything else.

    Args:
        values: of one trace along one axis.
        categories: word to its value.
    """
    found = [categories.get(each, np.nan) if isinstance(each, str) else each for each in values]
    return np.array([np.nan if each is None else each for each in found], dtype=np.float64)


def axis_of(settings: Mapping[str, object], values: Sequence[Sequence[object]], start: float, end: float) -> Axis:
    """Read an axis from a figure's layout and the values along it.

    Args:
        settings: of the axis, as plain JSON.
        values: of every trace along the axis.
        start: pixels of the lower end.
        end: pixels of the upper end.
    """
    words = dict.fromkeys(each for trace in values for each in trace if isinstance(each, str))
    categories = {word: float(place) for place, word in enumerate(words)}
    numbers = np.concatenate([as_numbers(trace, categories) for trace in values] or [np.empty(0)])
    is_log = settings.get("type") == "log"
    low, high = _range(settings, numbers, is_log=is_log, by_words=bool(categories))
    if settings.get("autorange") == "reversed":
        low, high = high, low
    title = settings.get("title")
    return Axis(
        is_log=is_log,
        low=low,
        high=high,
        start=start,
        end=end,
        ticks=_ticks(settings, low, high, categories, is_log=is_log),
        title=str(title.get("text", "")) if isinstance(title, Mapping) else "",
        categories=categories,
    )


def _range(
    settings: Mapping[str, object], numbers: Float[np.ndarray, " n"], *, is_log: bool, by_words: bool
) -> tuple[float, float]:
    given = settings.get("range")
    if isinstance(given, Sequence):
        return float(given[0]), float(given[1])
    known = numbers[np.isfinite(numbers) & ((numbers > 0.0) | (not is_log))]
    known = np.log10(known) if is_log else known
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    if by_words:
        return low - 0.5, high + 0.5
    padding = _PADDING * (high - low) or 0.5
    if settings.get("rangemode") == "tozero" and low >= 0.0:
        return 0.0, high + padding
    return low - padding, high + padding


def _ticks(
    settings: Mapping[str, object], low: float, high: float, categories: Mapping[str, float], *, is_log: bool
) -> tuple[tuple[float, str], ...]:
    given, texts = settings.get("tickvals"), settings.get("ticktext")
    if isinstance(given, Sequence) and not isinstance(given, str):
        labels = texts if isinstance(texts, Sequence) else [f"{value:g}" for value in given]
        return tuple((float(value), str(label)) for value, label in zip(given, labels, strict=True))
    if categories:
        return tuple((place, word) for word, place in categories.items())
    first, last = sorted((low, high))
    if is_log:
        step = max(1, int(np.ceil((last - first) / 8)))
        powers = range(int(np.ceil(first)), int(np.floor(last)) + 1, step)
        parts = (1.0,) if last - first > 2.0 else (1.0, 2.0, 5.0)
        return tuple((part * 10.0**power, f"{part * 10.0**power:g}") for power in powers for part in parts)
    step = _step((last - first) / _WANTED_TICKS)
    values = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    # Adding 0 below makes 0 of -0.
    is_percent = "%" in str(settings.get("tickformat", ""))
    return tuple((float(value), f"{value:.0%}" if is_percent else f"{value:.6g}") for value in values + 0.0)


def _step(rough: float) -> float:
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(nice for nice in _NICE if nice * power >= rough * (1.0 - 1e-9)) * power)
