"""From what was asked for, and how fast this machine is, to what will be trained."""

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from gnoise.errors import UserError
from gnoise.stats.trial import FEWEST_SEEDS
from gnoise.trials.arms import LAYERWISE_LR, MUON, OWN_OPTIMIZER, Arm
from gnoise.trials.branch import Branch

MULTIPLES = (0.5, 1.0, 2.0)
STEPS = 200
LOOKS = 5
_FEWER_LOOKS = (LOOKS, 2, 1)
_MOST_LOOKING = 0.2  # of a budget
_FEWEST_STEPS = 20
_MOST_STEPS = 400
_MOST_SEEDS = 12
_SPARE = 0.9  # of a budget; the rest is for tuning at the edge of its grid and for starting up
_SLOWER = {OWN_OPTIMIZER: 1.1, MUON: 1.8, LAYERWISE_LR: 1.8}  # a step, at worst, beside one of the plain optimizer
_WARM, _TIMED = 2, 4


def seconds_of(branch: Branch) -> tuple[float, float]:
    """Time one step without remedy, and one look at the held-out examples.

    Args:
        branch: whose module to train a few steps; its weights are put back at the start of any training.
    """
    marks: list[float] = []
    started = perf_counter()
    branch.held_out_loss()
    look = perf_counter() - started
    short = replace(branch, steps=_WARM + _TIMED, evaluate_every=_WARM + _TIMED + 1)
    short.train(Arm("timing"), seed=0, lr=1e-6, on_step=lambda done, steps, loss: marks.append(perf_counter()))
    return (marks[_WARM + _TIMED - 2] - marks[_WARM - 1]) / (_TIMED - 1), look


def fit(
    budget: float, step: float, look: float, arms: Sequence[Arm], *, steps: int | None, seeds: int | None
) -> tuple[int, int, int]:
    """Choose steps and seeds that fit into a budget: five seeds first, then longer trainings, then more seeds.

    Where looking at the held-out examples would take much of it, it is done less often.

    Args:
        budget: seconds.
        step: seconds of one step without remedy.
        look: seconds of one look at the held-out examples.
        arms: to be trained.
        steps: where they are given already.
        seeds: likewise.

    Returns:
        steps of an arm without more, seeds, and looks at the held-out examples on the way, the end included.

    Raises:
        UserError: not even twenty steps of five seeds fit.
    """
    kinds = {arm.optimizer for arm in arms}
    tuning = len(MULTIPLES) * sum(_SLOWER[kind] for kind in kinds)
    one_seed = sum(_SLOWER[arm.optimizer] * arm.batches * arm.steps for arm in arms)

    def looking(seeds: int, looks: int) -> float:
        return (len(MULTIPLES) * len(kinds) + seeds * len(arms)) * looks * look

    def total(steps: int, seeds: int) -> float:
        return (tuning + seeds * one_seed) * steps * step + looking(seeds, looks)

    room = _SPARE * budget
    count = FEWEST_SEEDS if seeds is None else seeds
    looks = next((few for few in _FEWER_LOOKS if looking(count, few) <= _MOST_LOOKING * room), _FEWER_LOOKS[-1])
    fixed = looking(count, looks)
    fitting = math.floor((room - fixed) / ((tuning + count * one_seed) * step))
    length = min(fitting, _MOST_STEPS) if steps is None else steps
    if length < _FEWEST_STEPS or (steps is not None and total(steps, count) > room):
        needed = total(max(_FEWEST_STEPS, steps or 0), count) / _SPARE / 60.0
        raise UserError(
            f"expected a budget for {max(_FEWEST_STEPS, steps or 0)} steps of {count} seeds and {len(arms)} arms, "
            f"got {budget / 60.0:.3g} minutes; try --budget {math.ceil(needed)}m, or fewer --arms"
        )
    if seeds is None:
        while count < _MOST_SEEDS and total(length, count + 1) <= room:
            count += 1
    return length, count, looks
