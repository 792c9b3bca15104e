"""How much noisier a layer is than others of its kind."""

import statistics
from typing import NamedTuple

from gnoise.rules.rule import Findings

RATIO = 8.0
"""Noise scale above the median of its kind, at the low end of the interval, that makes a layer stand out."""
_PEERS = 4


class NoiseRatio(NamedTuple):
    """A layer's noise scale over the median of its kind, the low end of the same, and how many the median is of."""

    value: float
    low: float
    peers: int


def noise_ratio(findings: Findings) -> NoiseRatio | None:
    """Compare noise scales; ``None`` for the model, without an interval, or with fewer than four of a kind."""
    own = findings.usable("b_simple")
    known = [e["b_simple"].value for e in findings.peers if "b_simple" in e]
    scales = [value for value in known if value is not None]
    if findings.layer is None or own is None or own.value is None or own.low is None or len(scales) < _PEERS:
        return None
    median = statistics.median(scales)
    return NoiseRatio(own.value / median, own.low / median, len(scales))
