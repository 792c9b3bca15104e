"""What a trial's curves say: paired differences, and what they are worth in tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.records import Status
from gnoise.stats.intervals import CONFIDENCE, t_interval
from gnoise.trial_records import ArmResult, Trial, TrialCurve

NONE, LONGER, LARGER, TUNING = "none", "longer", "batch_x2", "tuning"
"""Arms of every trial: no remedy, the same for a tenth more steps, the same with twice the batch."""
MORE_STEPS = 0.1
FEWEST_SEEDS = 5
_EARLY = 0.99
_SMALLEST = 0.01
_POWER = 0.8
_WORST = -10.0


class _Share(NamedTuple):
    value: float
    low: float
    high: float


def judge_trial(trial: Trial) -> tuple[ArmResult, ...]:
    r"""Compare every arm with none on the seeds both have.

    With $d_s$ the loss of none less that of the arm and $e_s$ the loss of none less that of none trained a tenth
    longer, seed by seed, the arm is worth $x = 0.1\, \bar d / \bar e$ more of the same training, and saves
    $1 - c / (1 + x)$ of the tokens that none needs to the arm's loss, where its own steps take $c$ times none's. The
    interval is Fieller's, on pairs, so that it carries how well the ruler itself is known.

    Args:
        trial: with whatever curves it has so far.

    Returns:
        one result an arm, in the plan's order; none itself first.
    """
    return tuple(judge_arm(trial, arm) for arm in trial.plan.arms)


def judge_arm(trial: Trial, arm: str, *, confidence: float = CONFIDENCE) -> ArmResult:
    """Compare one arm with none.

    Args:
        trial: with whatever curves it has so far.
        arm: its name.
        confidence: of all intervals.
    """
    curves = [curve for curve in trial.curves if curve.arm == arm]
    ended = [curve for curve in curves if curve.status is Status.OK]
    ours, none = final_losses(trial, arm), final_losses(trial, NONE)
    paired = sorted(ours.keys() & none.keys())
    better = np.array([none[seed] - ours[seed] for seed in paired])
    status = _status(curves, len(paired))
    difference, share, detectable = None, None, None
    if len(paired) > 1:
        difference = t_interval(-float(better.mean()), _stderr(better), len(paired) - 1, confidence=confidence)
        if arm not in (NONE, LONGER) and status is Status.OK:
            cost = 2.0 if arm == LARGER else 1.0
            share, detectable = _tokens(trial, paired, better, cost, confidence)
            status = Status.NO_SCALE if share is None else Status.OK
    return ArmResult(
        arm=arm,
        seeds=len(paired),
        loss=float(np.mean([*ours.values()])) if ours else None,
        difference=None if difference is None else difference.value,
        difference_low=None if difference is None else difference.low,
        difference_high=None if difference is None else difference.high,
        tokens_saved=None if share is None else share.value,
        low=None if share is None else share.low,
        high=None if share is None else share.high,
        detectable=detectable,
        spikes=sum(curve.spikes for curve in curves),
        ended_early=len(curves) - len(ended),
        overhead=_overhead(trial, arm),
        predicted=trial.plan.predicted.get(arm),
        status=status,
    )


def is_settled(trial: Trial) -> bool:
    """Tell whether more seeds would not change what is said: Haybittle and Peto's rule.

    From five seeds on a trial may stop once every remedy's 99% interval leaves zero out, or lies within one
    percent of tokens around it. The 95% intervals that are reported cover hardly less often than they say for such
    strict early looks.

    Args:
        trial: all arms finished on the same seeds.
    """
    remedies = [arm for arm in trial.plan.arms if arm not in (NONE, LONGER, LARGER)]
    if not remedies or len(final_losses(trial, NONE)) < FEWEST_SEEDS:
        return False
    return all(_decided(judge_arm(trial, arm, confidence=_EARLY)) for arm in remedies)


def final_losses(trial: Trial, arm: str) -> dict[int, float]:
    """Return the final held-out loss of each seed whose training came to its end.

    Args:
        trial: with whatever curves it has.
        arm: its name.
    """
    return {c.seed: c.loss[-1] for c in trial.curves if c.arm == arm and c.status is Status.OK}


def best_rate(curves: Sequence[TrialCurve]) -> float:
    """Return the learning rate whose training without remedy ended lowest; diverged ones do not count.

    Args:
        curves: of the tuning.
    """
    ended = [curve for curve in curves if curve.status is Status.OK]
    return min(ended, key=lambda curve: curve.loss[-1]).learning_rate


def _status(curves: Sequence[TrialCurve], paired: int) -> Status:
    broken = [curve.status for curve in curves if curve.status is not Status.OK]
    if broken and len(broken) == len(curves):
        return broken[0]
    return Status.OK if paired > 1 else Status.TOO_FEW_SEEDS


def _tokens(
    trial: Trial, paired: Sequence[int], better: Float[np.ndarray, " seeds"], cost: float, confidence: float
) -> tuple[_Share | None, float | None]:
    """Read a difference off the ruler of longer training; none where the ruler has no sure length."""
    longer, none = final_losses(trial, LONGER), final_losses(trial, NONE)
    both = [seed in longer for seed in paired]
    if sum(both) < 2:
        return None, None
    gained = better[both]
    ruler = np.array([none[seed] - longer[seed] for seed in paired if seed in longer])
    n = gained.size
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2.0))
    covariance = np.cov(gained, ruler) / n
    mean, length = float(gained.mean()), float(ruler.mean())
    a = length**2 - quantile**2 * covariance[1, 1]
    if length <= 0.0 or a <= 0.0:
        return None, None
    b = mean * length - quantile**2 * covariance[0, 1]
    c = mean**2 - quantile**2 * covariance[0, 0]
    reach = float(np.sqrt(max(b * b - a * c, 0.0)))
    worth = MORE_STEPS * np.array([mean / length, (b - reach) / a, (b + reach) / a])
    power = float(stdtrit(n - 1, _POWER))
    seen = MORE_STEPS * (quantile + power) * float(np.sqrt(covariance[0, 0])) / length
    return _Share(*(_saved(float(x), cost) for x in worth)), _saved(seen, 1.0)


def _saved(more: float, cost: float) -> float:
    """Turn so much more training without remedy into the share of its tokens that is saved; at worst, -10.

    Args:
        more: as a share of the training's length.
        cost: tokens of a step beside one without remedy.
    """
    reached = 1.0 + more
    return max(1.0 - cost / reached, _WORST) if reached > 0.0 else _WORST


def _decided(result: ArmResult) -> bool:
    if result.low is None or result.high is None:
        return result.status not in (Status.OK, Status.NO_SCALE, Status.TOO_FEW_SEEDS)
    return result.low > 0.0 or result.high < 0.0 or max(-result.low, result.high) < _SMALLEST


def _overhead(trial: Trial, arm: str) -> float | None:
    """Compare seconds an example with none's, seed by seed."""
    pace = {
        name: {c.seed: c.seconds / c.examples[-1] for c in trial.curves if c.arm == name and c.examples[-1] > 0}
        for name in (arm, NONE)
    }
    ratios = [pace[arm][seed] / pace[NONE][seed] for seed in pace[arm].keys() & pace[NONE].keys() if pace[NONE][seed]]
    return float(np.median(ratios)) - 1.0 if ratios and arm != NONE else None


def _stderr(values: Float[np.ndarray, " seeds"]) -> float:
    return float(values.std(ddof=1)) / float(np.sqrt(values.size))
