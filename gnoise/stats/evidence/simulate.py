"""All arms' updates of a fold, a few arms and coordinates at a time, so that what they make stays in the cache."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from gnoise.stats.evidence.arms import Arm, Gradients
from gnoise.stats.evidence.influence import Blocks, by_block
from gnoise.stats.evidence.optimizers import Simulated
from gnoise.stats.evidence.updates import Passes, arm_moments, is_untouched, side_by_side, treat_all, two_passes

_AT_ONCE = 2**15
"""Numbers in an array of draws by coordinates, or of several arms: a dozen such are at work together."""


def simulate(
    arms: Sequence[Arm],
    own: Gradients,
    fillings: Sequence[Gradients],
    optimizer: Simulated,
    curvature: Float[np.ndarray, " coords"],
    counts: Sequence[int],
) -> list[Blocks]:
    """Pass a fold's draws through every arm and the optimizer, v filled from other draws.

    Args:
        arms: the first leaves gradients as they are.
        own: the fold's draws.
        fillings: other draws; all updates are made with each of them.
        optimizer: what treated gradients go through.
        curvature: weights of squared coordinates.
        counts: for each filling, the blocks of the fold's draws that updates are shared out to.

    Returns:
        of each filling, arms × blocks × coordinates.
    """
    passes = two_passes(optimizer, own.values.shape[0])
    width = max(1, _AT_ONCE // own.values.shape[0])
    parts = [slice(first, first + width) for first in range(0, own.values.shape[1], width)]
    tiles = [
        _tile(arms, own.at(part), [each.at(part) for each in fillings], passes, optimizer, curvature[part], counts)
        for part in parts
    ]
    if len(tiles) == 1:
        return tiles[0]
    return [
        Blocks(np.concatenate([x.middle for x in of_filling], axis=-1), np.sum([x.size for x in of_filling], axis=0))
        for of_filling in zip(*tiles, strict=True)
    ]


def _tile(
    arms: Sequence[Arm],
    own: Gradients,
    fillings: Sequence[Gradients],
    passes: Passes,
    optimizer: Simulated,
    curvature: Float[np.ndarray, " coords"],
    counts: Sequence[int],
) -> list[Blocks]:
    """Simulate some coordinates; an arm that leaves every gradient as it is has what the first arm has."""
    coords = own.values.shape[1]
    found = [Blocks(np.empty((len(arms), count, coords)), np.empty((len(arms), count))) for count in counts]
    for group in _groups(arms, max(1, _AT_ONCE // own.values.size)):
        treated = {place: treat_all(arms[place], own, fillings) for place in group}
        touched = [x for x in group if x == 0 or not is_untouched(treated[x], own, fillings)]
        untouched = [x for x in group if x not in touched]
        moments = arm_moments(side_by_side([treated[x] for x in touched]), passes) if touched else ()
        for of_filling, made, count in zip(found, moments, counts, strict=False):
            blocks = by_block(made, passes, optimizer, curvature, count)
            of_filling.middle[touched], of_filling.size[touched] = blocks.middle, blocks.size
        for of_filling in found:
            of_filling.middle[untouched], of_filling.size[untouched] = of_filling.middle[0], of_filling.size[0]
    return found


def _groups(arms: Sequence[Arm], most: int) -> Iterator[list[int]]:
    """Group arms that treat the fold's draws once, and those that treat them with every filling."""
    for by_coordinate in (False, True):
        places = [place for place, arm in enumerate(arms) if arm.by_coordinate is by_coordinate]
        for first in range(0, len(places), most):
            yield places[first : first + most]
