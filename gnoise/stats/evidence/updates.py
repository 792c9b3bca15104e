r"""The updates one arm would have made of a fold of draws.

Moments are linear in what comes in: the first in the gradients, the second in their squares. So the two passes over a
fold are two matrices of weights, the optimizer's own answer to one draw at a time, and an arm's moments two products.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

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
    """Moments at each draw, and what they were made of: of an arm, or of several.

    Attributes:
        treated: gradients the optimizer got.
        first: its first moment at each of them, as filled.
        second: its second moment.
    """

    treated: Float[np.ndarray, "*arms draws coords"]
    first: Float[np.ndarray, "*arms draws coords"]
    second: Float[np.ndarray, "*arms draws coords"]


@cache
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

    own: tuple[Float[np.ndarray, "*arms draws coords"], ...]
    fillings: tuple[Float[np.ndarray, "*arms _ coords"], ...]


def side_by_side(treated: Sequence[Treated]) -> Treated:
    """Put arms in front of draws.

    Args:
        treated: by each of them, all for every filling or all once.
    """
    if len(treated) == 1:
        return Treated(tuple(x[None] for x in treated[0].own), tuple(x[None] for x in treated[0].fillings))
    own = tuple(np.stack(x) for x in zip(*(each.own for each in treated), strict=True))
    return Treated(own, tuple(np.stack(x) for x in zip(*(each.fillings for each in treated), strict=True)))


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


def arm_moments(treated: Treated, passes: Passes) -> Iterator[Made]:
    """Pass an arm's gradients over twice, v started from other draws: once with each filling.

    One at a time, so that what is made stays in the processor's cache.

    Args:
        treated: what the arm, or each of several, makes of the draws.
        passes: of the optimizer over so many draws.
    """
    moments = [(passes.first @ own, passes.second @ np.square(own)) for own in treated.own]
    for place, filling in enumerate(treated.fillings):
        first, second = moments[place % len(moments)]
        squares = np.einsum("...tc,...tc->...c", filling, filling) / filling.shape[-2]
        start = passes.left_of_start[:, None] * squares[..., None, :]
        yield Made(treated.own[place % len(moments)], first, np.add(second, start, out=start))
