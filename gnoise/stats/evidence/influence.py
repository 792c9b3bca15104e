r"""What each block of a fold's draws has done to its updates.

An optimizer with momentum spreads a draw over many updates: neighbouring blocks of updates are made of the same draws
and agree more than chance would have them, so that leaving one out changes too little. Blocks of draws do not overlap.
With moments $m = Pg$ and $v = Qg^2 + \dots$ and updates $u = m\,r$, $r = 1/(\sqrt v + \epsilon)$, one more draw like
the one at s moves the sum of u by

$$g_s (P^\top r)_s - \tfrac{1}{2} g_s^2 (Q^\top \tfrac{u r}{\sqrt v})_s .$$

Of the sum of u² its part is $g_s (P^\top ur)_s$; what is steady in u it adds to once more, and what it shares with its
neighbours' noise is theirs as much: $g_s (P^\top (u + \bar u) r)_s - \bar g (P^\top (u - \bar u) r)_s - g_s^2 (Q^\top
\tfrac{u^2 r}{\sqrt v})_s$, which without momentum is g² and a constant. (The derivative alone would count pairs of
draws that momentum brings together twice, and each draw's own square four times.)

References:
    Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.stats.evidence.optimizers import Simulated
from gnoise.stats.evidence.updates import Made, Passes


@dataclass(frozen=True)
class Blocks:
    """Mean update and mean squared size of an arm, or of several, shared out to the fold's blocks of draws.

    Attributes:
        middle: mean of these over the blocks is that of the updates.
        size: likewise; a block's may be negative, whose draws made v large for all others.
    """

    middle: Float[np.ndarray, "own ... coords"]
    size: Float[np.ndarray, "own ..."]


def by_block(
    made: Made, passes: Passes, optimizer: Simulated, curvature: Float[np.ndarray, " coords"], count: int
) -> Blocks:
    """Share a fold's updates out to blocks of its draws.

    Args:
        made: the updates, and what they were made of.
        passes: weights of draws in the moments.
        optimizer: which made them. A sign has no derivative: its blocks are of updates.
        curvature: weights of squared coordinates.
        count: of blocks.
    """
    updates = made.updates
    squares = np.einsum("tc,tc,c->t", updates, updates, curvature)
    if count == 1 or optimizer.signs_only:
        return Blocks(_means(updates, count), _means(squares, count))
    ratio = optimizer.direction(np.ones_like(updates), made.second)
    divided = passes.first.T @ ratio
    middle = _means(made.treated * divided, count)
    whole, steady = passes.first.T @ (updates * ratio), updates.mean(axis=0) * divided
    held, mean = np.square(made.treated), made.treated.mean(axis=0)
    moved = np.einsum("tc,tc,c->t", made.treated, whole + steady, curvature)
    moved -= np.einsum("c,tc,c->t", mean, whole - steady, curvature)
    if optimizer.second_decay is not None:
        over = updates * ratio / np.sqrt(np.maximum(made.second, np.finfo(np.float64).tiny))
        held_back = _means(held * (passes.second.T @ over), count)
        middle -= 0.5 * (held_back - held_back.mean(axis=0))
        moved -= np.einsum("tc,tc,c->t", held, passes.second.T @ (updates * over), curvature)
    own = _means(moved, count)
    return Blocks(middle, squares.mean() + own - own.mean())


def _means(values: Float[np.ndarray, "draws ..."], count: int) -> Float[np.ndarray, "own ..."]:
    return values.reshape(count, -1, *values.shape[1:]).mean(axis=1)
