r"""The updates one arm would have made of a fold of draws.

Moments are linear in what comes in: the first in the gradients, the second in their squares. So the two passes over a
fold are two matrices of weights, the optimizer's own answer to one draw at a time, and an arm's moments two products.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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


def arm_updates(
    arm: Arm, own: Gradients, fillings: Sequence[Gradients], passes: Passes, optimizer: Simulated
) -> Iterator[Values]:
    """Make an arm's updates, v and the scales of single coordinates started from other draws.

    Args:
        arm: the remedy.
        own: the fold's draws.
        fillings: the updates are made once with each; each has itself for its filling.
        passes: of the optimizer over so many draws.
        optimizer: what treated gradients go through.
    """
    moments = None if arm.by_coordinate else _moments(arm.treat(own), passes)
    for filling in fillings:
        first, second = moments or _moments(arm.treat(replace(own, filling=filling.values)), passes)
        if optimizer.second_decay is not None:
            start = np.square(arm.treat(filling)).mean(axis=0)
            second = second + passes.left_of_start[:, None] * start
        yield optimizer.direction(first, second)


def does_nothing(arm: Arm, own: Gradients, fillings: Sequence[Gradients]) -> bool:
    """Tell whether an arm leaves every gradient as it is, as a high clip threshold does.

    Args:
        arm: the remedy.
        own: the fold's draws.
        fillings: other draws.
    """
    return not arm.by_coordinate and all(np.array_equal(arm.treat(part), part.values) for part in (own, *fillings))


def _moments(treated: Values, passes: Passes) -> tuple[Values, Values]:
    return passes.first @ treated, passes.second @ np.square(treated)
