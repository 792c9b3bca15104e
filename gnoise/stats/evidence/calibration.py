r"""What a gain is worth in tokens, allowing for how far trials were from predictions like it.

The interval of a gain holds sampling error alone. What frozen weights, or a path without a remedy, cannot see is not in
it: only trials are. :data:`MARGINS` are what it took to bring every arm that was predicted and trained with inside;
``benchmarks/calibration_margin.py`` fits them.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from gnoise.records import Evidence
from gnoise.stats.evidence.gain import BATCH
from gnoise.stats.evidence.rates import LAYERWISE_LR

MARGINS: Mapping[tuple[bool, bool], float] = {
    (False, False): 0.30,
    (True, False): 0.21,
    (False, True): 1.17,
    (True, True): 1.04,
}
"""In the logarithm of a gain, by (along a path, a learning rate): what was needed, rounded up."""


def calibrated(row: Evidence, *, along_path: bool) -> Evidence:
    r"""Add the tokens saved on the way to equal loss: $1 - 1/\text{gain}$, and its interval once calibrated.

    In the logarithm either end lies farther out than the gain's own, by the root of the sum of the squares of how far
    that is from the gain and of the margin.

    Args:
        row: with a gain or without; a larger batch pays for its gain in tokens and has none.
        along_path: whether the weights moved on meanwhile.
    """
    if row.gain is None or row.low is None or row.high is None or row.remedy == BATCH:
        return row
    margin = MARGINS[along_path, row.remedy == LAYERWISE_LR]
    log, low, high = (math.log(x) for x in (row.gain, row.low, row.high))
    ends = (log, log - math.hypot(log - low, margin), log + math.hypot(high - log, margin))
    saved, least, most = (1.0 - math.exp(-x) for x in ends)
    return replace(row, tokens_saved=saved, tokens_saved_low=least, tokens_saved_high=most)
