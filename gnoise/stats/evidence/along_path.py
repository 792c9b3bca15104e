r"""What an update buys while the weights move: draws in pairs along a path of real steps.

At frozen weights the gradient is mostly what pulls the noise of past steps back, in the few steep directions such
noise sits in; momentum averages draws for it as long as one likes, and noise looks cheap. On the way it changes as
fast as the weights do. So each update, made by one draw of every pair up to now, is held against the other draw of
its own pair, taken at the same weights from other examples:

$$n = \frac{1}{T} \sum_t \langle g_t^B, u_t(g_1^A, \dots, g_t^A) \rangle, \qquad d = \frac{1}{T} \sum_t \|u_t\|_H^2,$$

and the other way round. The path itself is that of no remedy, whatever the arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gnoise.records import CoordinateSample, Status
from gnoise.stats.evidence.arms import ARMS, NONE, Arm, Gradients
from gnoise.stats.evidence.optimizers import Simulated
from gnoise.stats.evidence.progress import (
    BLOCKS,
    LEFT_OUT,
    Progress,
    Values,
    curvature_of,
    gradients_of,
    problem_of,
    summed,
)
from gnoise.stats.evidence.updates import Passes, arm_moments, treat_all

_FOLDS = 2
_WARM = 8
"""Pairs at the start, whose momentum is not yet that of a training under way."""


@dataclass(frozen=True)
class _Stretches:
    """Means over each of eight stretches of the path: progress along the other draw, size, what both draws share."""

    along: Float[np.ndarray, "blocks arms"]
    size: Float[np.ndarray, "blocks arms"]
    steady: Float[np.ndarray, "blocks arms"]


def measure_along(sample: CoordinateSample, optimizer: Simulated, arms: Sequence[Arm] = ARMS) -> Progress | Status:
    """Run every arm through the optimizer over a path's draws, cross-fitted over alternating stretches of it.

    Progress is a plain mean over single draws: where the noise has heavy tails, intervals are wide.

    Args:
        sample: both draws of each consecutive pair at the same weights.
        optimizer: what the updates go through.
        arms: compared with no remedy, which is put in front.

    Returns:
        The progress of every arm, or why it cannot be measured.
    """
    status = problem_of(sample)
    pairs = sample.values.shape[0] // 2
    if status is Status.OK and pairs < _WARM + BLOCKS:
        status = Status.TOO_FEW_DRAWS
    if status is not Status.OK:
        return status
    every = (NONE, *arms)
    gradients = gradients_of(sample, 2 * pairs)
    found = _stretches(every, gradients, pairs, curvature_of(gradients.values, optimizer), optimizer)
    of_fold = np.arange(BLOCKS) % _FOLDS
    left = np.stack([_means(found, of_fold, left_out=block) for block in range(BLOCKS)], axis=1)
    along, size, steady = _means(found, of_fold, left_out=None)
    return Progress(
        arms=every,
        along=along,
        size=size,
        steady=steady.mean(axis=-1),
        steady_left=left[2, :, 0].mean(axis=-1),
        along_left=left[0],
        size_left=left[1],
        params=tuple(arm.params(gradients) for arm in every),
        draws=2 * pairs,
        left_out=LEFT_OUT,
        freedom=BLOCKS // 2,
    )


def _stretches(
    arms: Sequence[Arm],
    gradients: Gradients,
    pairs: int,
    curvature: Float[np.ndarray, " coords"],
    optimizer: Simulated,
) -> _Stretches:
    """Let each draw of the pairs make the updates in turn; v is filled from the stretches of the other fold."""
    parts = np.array_split(np.arange(_WARM, pairs), BLOCKS)
    passes = _one_pass(optimizer, pairs)
    firsts = np.arange(0, 2 * pairs, 2)
    both = [gradients.part(firsts), gradients.part(firsts + 1)]
    along, size, steady = (np.empty((BLOCKS, len(arms))) for _ in range(3))
    for place, arm in enumerate(arms):
        made = [_updates(arm, own, parts, passes, optimizer) for own in both]
        held = [(u * other.values).sum(axis=1) for u, other in zip(made, reversed(both), strict=True)]
        sizes = [summed(np.square(u), curvature) for u in made]
        shared = summed(made[0] * made[1], curvature)
        for block, part in enumerate(parts):
            along[block, place] = np.mean([x[part] for x in held])
            size[block, place] = np.mean([x[part] for x in sizes])
            steady[block, place] = shared[part].mean()
    return _Stretches(along, size, steady)


def _updates(
    arm: Arm, own: Gradients, parts: Sequence[Int[np.ndarray, " some"]], passes: Passes, optimizer: Simulated
) -> Values:
    fillings = [own.alone(np.concatenate(parts[1 - fold :: _FOLDS])) for fold in range(_FOLDS)]
    updates = np.zeros_like(own.values)
    for fold, made in enumerate(arm_moments(treat_all(arm, own, fillings), passes)):
        rows = np.concatenate(parts[fold::_FOLDS])
        updates[rows] = optimizer.direction(made.first[rows], made.second[rows])
    return updates


def _one_pass(optimizer: Simulated, draws: int) -> Passes:
    """Read the weights off the optimizer by giving it one draw at a time; the first moment starts empty, corrected."""
    firsts, seconds = np.empty((draws, draws)), np.empty((draws, draws))
    first = second = np.zeros(draws)
    for draw, grad in enumerate(np.eye(draws)):
        first, second = optimizer.next_first(first, grad), optimizer.next_second(second, grad)
        firsts[draw], seconds[draw] = first / (1.0 - optimizer.momentum ** (draw + 1)), second
    decay = 1.0 if optimizer.second_decay is None else optimizer.second_decay
    return Passes(firsts, seconds, decay ** (1.0 + np.arange(draws)))


def _means(
    found: _Stretches, of_fold: Int[np.ndarray, " blocks"], *, left_out: int | None
) -> Float[np.ndarray, "three arms folds"]:
    """Average each fold's stretches, without one of them."""
    kept = np.arange(BLOCKS) != left_out
    numbers = (found.along, found.size, found.steady)
    return np.stack(
        [np.stack([x[kept & (of_fold == fold)].mean(axis=0) for fold in range(_FOLDS)], axis=-1) for x in numbers]
    )
