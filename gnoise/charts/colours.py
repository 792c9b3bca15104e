"""Colours between two colours."""

import re
from collections.abc import Sequence
from itertools import pairwise

_NUMBERS = re.compile(r"[\d.]+")


def colour_at(scale: Sequence[Sequence[object]], share: float) -> str:
    """Find the colour at a place of a colour scale, straight between its neighbours.

    Args:
        scale: ascending pairs of a place, from 0 to 1, and a colour, ``rgb(…)`` or ``rgba(…)``.
        share: place; what lies outside takes the nearest end.
    """
    stops = [(float(str(place)), _channels(str(colour))) for place, colour in scale]
    at = min(max(share, stops[0][0]), stops[-1][0])
    for (low, first), (high, last) in pairwise(stops):
        if at <= high:
            part = (at - low) / (high - low) if high > low else 1.0
            red, green, blue, alpha = (a + part * (b - a) for a, b in zip(first, last, strict=True))
            return f"rgba({red:.0f}, {green:.0f}, {blue:.0f}, {alpha:.3g})"
    raise AssertionError("the last stop is reached")


def _channels(colour: str) -> tuple[float, float, float, float]:
    red, green, blue, *alpha = (float(number) for number in _NUMBERS.findall(colour))
    return red, green, blue, alpha[0] if alpha else 1.0
