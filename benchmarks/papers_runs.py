"""Which trainings a study takes: tuning, pairs over seeds, longer ones as a ruler, grids. Run alone it does nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from papers_studies import RATE, Range, Savings, Study
from papers_trainings import Arm, Ended, Key, Problem

from gnoise.stats.trial import LONGER, MORE_STEPS, NONE

TUNING_SEED = 0
_FARTHEST = 6

Done = Callable[[Problem, Arm, Key], Ended]
"""Trains, or finds what came of it."""


@dataclass(frozen=True)
class Chosen:
    """What the tuning seed ended lowest with."""

    rate: float
    setting: float


def tuned(study: Study, problem: Problem, arm: Arm, start: float, done: Done) -> Chosen:
    """Choose an arm's setting at a rate, then its rate: half, the same, double, and on past an edge that wins.

    Args:
        study: whose steps and decay.
        problem: of the study.
        arm: to be tuned.
        start: rate in the middle.
        done: trains.
    """

    def loss(rate: float, setting: float) -> float:
        return done(problem, arm, Key(arm.name, TUNING_SEED, rate, study.decay, setting, study.steps)).after

    setting = min(arm.settings, key=lambda x: loss(start, x)) if len(arm.settings) > 1 else arm.settings[0]
    tried = {times: loss(start * times, setting) for times in (0.5, 1.0, 2.0)}
    while len(tried) < _FARTHEST:
        best = min(tried, key=lambda times: tried[times])
        if min(tried) < best < max(tried):
            break
        beyond = best / 2.0 if best == min(tried) else best * 2.0
        tried[beyond] = loss(start * beyond, setting)
    return Chosen(start * min(tried, key=lambda times: tried[times]), setting)


def trainings(study: Savings, done: Done) -> tuple[dict[str, Chosen], dict[str, dict[int, Ended]]]:
    """Tune every arm, then train all on all seeds, none a tenth longer as well.

    Args:
        study: which.
        done: trains.

    Returns:
        what was chosen by arm, and what came of it by arm and seed.
    """
    problem, chosen = study.problem(), dict[str, Chosen]()
    for arm in study.arms:
        start = chosen[NONE].rate if NONE in chosen else study.rate
        chosen[arm.name] = tuned(study, problem, arm, start, done)
    found: dict[str, dict[int, Ended]] = {}
    for seed in study.seeds:
        for arm in study.arms:
            at = chosen[arm.name]
            key = Key(arm.name, seed, at.rate, study.decay, at.setting, study.steps)
            found.setdefault(arm.name, {})[seed] = done(problem, arm, key)
        found.setdefault(LONGER, {})[seed] = longer(study, problem, chosen[NONE].rate, seed, done)
    return chosen, found


def longer(study: Study, problem: Problem, rate: float, seed: int, done: Done) -> Ended:
    """Train none a tenth longer: the ruler that turns a difference into tokens.

    Args:
        study: whose.
        problem: of the study.
        rate: none's.
        seed: which.
        done: trains.
    """
    steps = round(study.steps * (1.0 + MORE_STEPS))
    return done(problem, study.arms[0], Key(LONGER, seed, rate, study.decay, study.arms[0].settings[0], steps))


def over_grid(study: Range, done: Done) -> dict[str, dict[int, list[Ended]]]:
    """Train every arm at every value of the grid, on all seeds.

    Args:
        study: which.
        done: trains.

    Returns:
        by arm and seed, along the grid.
    """
    problem = study.problem()
    rate = study.rate if study.axis == RATE else tuned(study, problem, study.arms[0], study.rate, done).rate

    def along(arm: Arm, seed: int) -> list[Ended]:
        return [
            done(problem, arm, Key(arm.name, seed, *_place(study, value, rate), 0.0, study.steps))
            for value in study.grid
        ]

    found: dict[str, dict[int, list[Ended]]] = {arm.name: {} for arm in study.arms}
    for seed in study.seeds:
        for arm in study.arms:
            found[arm.name][seed] = along(arm, seed)
    return found


def _place(study: Range, value: float, rate: float) -> tuple[float, float]:
    return (value, study.decay) if study.axis == RATE else (rate, value)


def best_on_grid(study: Range, found: dict[int, list[Ended]]) -> int:
    """Return the place along the grid where the mean loss over seeds is lowest.

    Args:
        study: whose grid.
        found: by seed.
    """
    means: Sequence[float] = [sum(found[seed][i].after for seed in found) / len(found) for i in range(len(study.grid))]
    return means.index(min(means))
