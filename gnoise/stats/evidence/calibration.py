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
    that is from the gain and of the margin. A gain without an upper end has a saving without one.

    Args:
        row: with a gain or without; a larger batch pays for its gain in tokens and has none.
        along_path: whether the weights moved on meanwhile.
    """
    if row.gain is None or row.low is None or row.remedy == BATCH:
        return row
    margin = MARGINS[along_path, row.remedy == LAYERWISE_LR]
    log = math.log(row.gain)
    saved = 1.0 - math.exp(-log)
    least = 1.0 - math.exp(math.hypot(log - math.log(row.low), margin) - log)
    most = None if row.high is None else 1.0 - math.exp(-math.hypot(math.log(row.high) - log, margin) - log)
    return replace(row, tokens_saved=saved, tokens_saved_low=least, tokens_saved_high=most)
