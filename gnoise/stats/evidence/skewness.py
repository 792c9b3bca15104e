r"""Is noise skewed? Only where it is not, a median of it is the mean gradient.

Where a coordinate's signal comes in rare large values, as in the rows of rare tokens, draws lie on one side of their
median; a median sees none of it, and pays whatever removes it. Noise that is symmetric, however heavy its tails, lies
on both sides alike, and one block of draws knows nothing of the side that another one took.
"""

from itertools import product

import numpy as np
from jaxtyping import Float, Int

_LARGE = 3.0
"""Times the scale: what the strictest entry-wise remedy removes begins here."""


def surely_skewed(values: Float[np.ndarray, "blocks draws coords"], scale: float) -> bool:
    r"""Tell whether large values of a coordinate come on the same side in block after block.

    With $s_{bc}$ the number of block b's draws far above its own median at coordinate c, less those far below it, noise
    that is symmetric around the gradient leaves $\sum_c (\sum_b \pm s_{bc})^2$ with one law whatever the signs, because
    a whole block of draws may be mirrored. Skewed is said where no other choice of signs reaches the sum with all of
    them alike: of eight blocks that happens by chance to one layer in 128. Coordinates need not be independent.

    Args:
        values: draws in even blocks.
        scale: what counts as near the median, positive.

    References:
        Pitman 1937, *Significance tests which may be applied to samples from any populations*: signs flipped at will.
    """
    apart = values - np.median(values, axis=1, keepdims=True)
    sides = (apart > _LARGE * scale).sum(axis=1) - (apart < -_LARGE * scale).sum(axis=1)
    sums = np.square(_signs(len(sides)) @ sides).sum(axis=1)
    return bool(np.all(sums[1:] < sums[0]))


def _signs(blocks: int) -> Int[np.ndarray, "choices blocks"]:
    """List every choice of signs up to a common one, all alike first."""
    return np.array([(1, *rest) for rest in product((1, -1), repeat=blocks - 1)])
