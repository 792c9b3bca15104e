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

_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Blocks:
    """Mean update and mean squared size of an arm, or of several, shared out to the fold's blocks of draws.

    Attributes:
        middle: mean of these over the blocks is that of the updates.
        size: likewise; a block's may be negative, whose draws made v large for all others.
    """

    middle: Float[np.ndarray, "*arms own coords"]
    size: Float[np.ndarray, "*arms own"]


def not_shared(
    updates: Float[np.ndarray, "*arms draws coords"], curvature: Float[np.ndarray, " coords"], count: int = 1
) -> Blocks:
    """Take blocks of updates, whichever draws made them.

    Args:
        updates: of a fold.
        curvature: weights of squared coordinates.
        count: of blocks.
    """
    parts = updates.reshape(*updates.shape[:-2], count, -1, updates.shape[-1])
    each = 1.0 / parts.shape[-2]
    return Blocks(
        (np.full(parts.shape[-2], each) @ parts), each * (np.einsum("...tc,...tc->...c", parts, parts) @ curvature)
    )


def by_block(
    made: Made, passes: Passes, optimizer: Simulated, curvature: Float[np.ndarray, " coords"], count: int
) -> Blocks:
    """Share a fold's updates out to blocks of its draws.

    Args:
        made: the moments, and what they were made of.
        passes: weights of draws in the moments.
        optimizer: which makes the updates. A sign has no derivative: its blocks are of updates.
        curvature: weights of squared coordinates.
        count: of blocks.
    """
    if count == 1 or optimizer.signs_only:
        return not_shared(optimizer.direction(made.first, made.second), curvature, count)
    root = np.sqrt(np.maximum(made.second, _TINY))
    ratio = np.ones_like(root) if optimizer.second_decay is None else 1.0 / (root + optimizer.eps)
    updates = made.first * ratio
    changed = updates * ratio
    moved = _met(made.treated * curvature, passes.first, changed)
    squares = moved.sum(axis=-1, keepdims=True)  # the first moment times u r is u²
    steady, mean = curvature * updates.mean(axis=-2), made.treated.mean(axis=-2)
    share = made.treated * (passes.first.T @ ratio)
    middle = _sums(share, count)
    moved += _weighed(share, steady)
    moved -= (_weighed(changed, curvature * mean) - _weighed(ratio, mean * steady)) @ passes.first
    if optimizer.second_decay is not None:
        over, held = changed / root, np.square(made.treated)
        held_back = _sums(held * (passes.second.T @ over), count)
        middle -= 0.5 * (held_back - held_back.mean(axis=-2, keepdims=True))
        moved -= _met(held * curvature, passes.second, over * updates)
    draws = root.shape[-2]
    own = _sums(moved[..., None], count)[..., 0]
    size = squares / draws + (own - own.mean(axis=-1, keepdims=True)) * (count / draws)
    return Blocks(middle * (count / draws), size)


def _sums(values: Float[np.ndarray, "*arms draws some"], count: int) -> Float[np.ndarray, "*arms own some"]:
    return values.reshape(*values.shape[:-2], count, -1, values.shape[-1]).sum(axis=-2)


def _weighed(
    values: Float[np.ndarray, "*arms draws coords"], weights: Float[np.ndarray, "*arms coords"]
) -> Float[np.ndarray, "*arms draws"]:
    return (values @ weights[..., None])[..., 0]


def _met(
    values: Float[np.ndarray, "*arms draws coords"],
    passes: Float[np.ndarray, "draws draws"],
    factors: Float[np.ndarray, "*arms draws coords"],
) -> Float[np.ndarray, "*arms draws"]:
    """Multiply each draw with the factors of all updates it has a part in, as much as that is."""
    return np.einsum("...ts,st->...t", values @ np.swapaxes(factors, -1, -2), passes)
