r"""The updates one arm would have made of a fold of draws.

Moments are linear in what comes in: the first in the gradients, the second in their squares. So the two passes over a
fold are two matrices of weights, the optimizer's own answer to one draw at a time, and an arm's moments two products.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.stats.evidence.arms import Arm, Gradients
from gnoise.stats.evidence.optimizers import Simulated

Values = Float[np.ndarray, "draws coords"]


@dataclass(frozen=True)
class Passes:
    """What a fold passed over twice, once to fill the moments and once for the record, leaves in them at each draw.

    Attributes:
        first: weights of the fold's draws in the first moment, which starts where endless passes would leave it.
        second: of their squares in the second moment, which starts empty.
        left_of_start: weight that is left of whatever the second moment started from.
    """

    first: Float[np.ndarray, "draws draws"]
    second: Float[np.ndarray, "draws draws"]
    left_of_start: Float[np.ndarray, " draws"]


@dataclass(frozen=True)
class Made:
    """An arm's updates, and what they were made of.

    Attributes:
        treated: gradients the optimizer got.
        second: its second moment at each of them, as filled.
        updates: of a learning rate of 1.
    """

    treated: Values
    second: Values
    updates: Values


def two_passes(optimizer: Simulated, draws: int) -> Passes:
    """Read the weights off the optimizer by giving it one draw at a time.

    Args:
        optimizer: whose moments these are.
        draws: of the fold.
    """
    one_at_a_time = np.eye(draws)
    firsts, seconds = np.empty((draws, draws)), np.empty((draws, draws))
    first = second = np.zeros(draws)
    for grad in one_at_a_time:
        first, second = optimizer.next_first(first, grad), optimizer.next_second(second, grad)
    first = first / (1.0 - optimizer.momentum**draws)
    for draw, grad in enumerate(one_at_a_time):
        first, second = optimizer.next_first(first, grad), optimizer.next_second(second, grad)
        firsts[draw], seconds[draw] = first, second
    decay = 1.0 if optimizer.second_decay is None else optimizer.second_decay
    return Passes(firsts, seconds, decay ** (draws + 1.0 + np.arange(draws)))


@dataclass(frozen=True)
class Treated:
    """What an arm makes of a fold's draws and of those that fill v.

    Attributes:
        own: the fold's draws; one for each filling where the arm keeps a scale for each coordinate, else one for all.
        fillings: each filling.
    """

    own: tuple[Values, ...]
    fillings: tuple[Float[np.ndarray, "_ coords"], ...]


def treat_all(arm: Arm, own: Gradients, fillings: Sequence[Gradients]) -> Treated:
    """Treat a fold's draws and other draws.

    Args:
        arm: the remedy.
        own: the fold's draws.
        fillings: other draws; each has itself for its filling.
    """
    if not arm.by_coordinate:
        return Treated((arm.treat(own),), tuple(arm.treat(filling) for filling in fillings))
    draws = own.values.shape[0]
    both = [arm.treat(own.followed_by(filling)) for filling in fillings]  # at once: scales are found only once
    return Treated(tuple(x[:draws] for x in both), tuple(x[draws:] for x in both))


def is_untouched(treated: Treated, own: Gradients, fillings: Sequence[Gradients]) -> bool:
    """Tell whether an arm left every gradient as it is, as a high clip threshold does.

    Args:
        treated: by the arm.
        own: the fold's draws.
        fillings: other draws.
    """
    pairs = [*((x, own) for x in treated.own), *zip(treated.fillings, fillings, strict=True)]
    return all(np.array_equal(x, given.values) for x, given in pairs)


def arm_updates(treated: Treated, passes: Passes, optimizer: Simulated) -> Iterator[Made]:
    """Make an arm's updates, v started from other draws: once with each filling.

    One at a time, so that what is made stays in the processor's cache.

    Args:
        treated: what the arm makes of the draws.
        passes: of the optimizer over so many draws.
        optimizer: what treated gradients go through.
    """
    moments = [(passes.first @ own, passes.second @ np.square(own)) for own in treated.own]
    for place, filling in enumerate(treated.fillings):
        first, second = moments[place % len(moments)]
        if optimizer.second_decay is not None:
            second = second + passes.left_of_start[:, None] * np.square(filling).mean(axis=0)
        yield Made(treated.own[place % len(moments)], second, optimizer.direction(first, second))
