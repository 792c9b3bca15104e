"""From progress to gains: ratios with intervals, parameters chosen on one fold and judged on the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

from gnoise.records import JsonValue, Status
from gnoise.stats.evidence.arms import Arm
from gnoise.stats.evidence.progress import Progress
from gnoise.stats.intervals import Interval, t_interval

BATCH = "batch"
"""What the anchors are called: a larger batch is no remedy, but everybody knows what one is worth."""
ANCHORS = (2.0, 4.0)


@dataclass(frozen=True)
class Gain:
    """What a remedy buys per step, against none.

    Attributes:
        remedy: its family.
        arm: the setting that did best over both folds; ``None`` without a gain, or for a larger batch.
        gain: ratio of progress per step with its 95% interval, of settings chosen on one fold and judged on the
            other; ``None`` with a status.
        bias_floor: the same ratio if all noise were gone and only what the remedy does to the signal were left: below 1
            it distorts the signal itself. ``None`` where noise hides it.
        equivalent_batch: batch, in multiples of the present one, that buys as much where averaging works as it does on
            Gaussian noise; an end is infinite where no batch would. ``None`` where noise hides it.
        status: ``OK``; ``AT_LEAST`` where the interval's upper end means nothing; or why there is no gain.
        p_value: of a gain of 1 or less, one-sided; ``None`` without a gain.
        setting: the parameter in words.
        params: what ``gnoise.apply`` needs.
    """

    remedy: str
    arm: Arm | None
    gain: Interval | None
    bias_floor: float | None
    equivalent_batch: tuple[float, float, float] | None
    status: Status
    p_value: float | None = None
    setting: str = ""
    params: Mapping[str, JsonValue] = field(default_factory=dict)


def gains(progress: Progress) -> list[Gain]:
    """Judge every remedy: its setting is chosen on one fold and its gain reported on the other, both ways.

    Choosing and reporting on the same draws would pay the winner for its luck. Intervals leave out each of eight
    blocks of draws, in remedy and none alike, and are symmetric in the logarithm: see :func:`_jackknife`.

    Args:
        progress: of one layer, or of the model.
    """
    status = _problem(progress)
    remedies = list(dict.fromkeys(arm.remedy for arm in progress.arms[1:]))
    if status is not Status.OK:
        return [Gain(remedy, None, None, None, None, status) for remedy in remedies]
    return [_judge(progress, _places(progress, lambda arm, r=remedy: arm.remedy == r)) for remedy in remedies]


def setting_gains(progress: Progress) -> list[Gain]:
    """Judge every setting of every remedy as it stands, none chosen.

    Args:
        progress: of one layer, or of the model; nothing is judged where the plain update makes no sure progress.
    """
    if _problem(progress) is not Status.OK:
        return []
    return [_judge(progress, [place]) for place in range(1, len(progress.arms))]


def best_gain(progress: Progress, allowed: Callable[[Arm], bool]) -> Gain | None:
    """Judge the choice among all remedies: made on one fold, judged on the other, both ways.

    Args:
        progress: of one layer, or of the model.
        allowed: which arms there are to choose from.

    Returns:
        the gain of choosing so, under the remedy and setting that did best over both folds; ``None`` with none to
        choose from.
    """
    places = _places(progress, allowed)
    if not places:
        return None
    status = _problem(progress)
    return _judge(progress, places) if status is Status.OK else Gain("none", None, None, None, None, status)


def batch_gains(progress: Progress) -> list[Gain]:
    """Read the ruler: what two and four times the batch would buy, see :func:`equivalent_batch`.

    Args:
        progress: of one layer, or of the model; empty where noise hides the steady part.
    """
    size, steady = float(progress.size[0].mean()), float(progress.steady[0])
    size_left, steady_left = progress.size_left[:, 0].mean(axis=-1), progress.steady_left
    if _problem(progress) is not Status.OK or not (0.0 < steady < size and np.all(steady_left > 0.0)):
        return []
    found: list[Gain] = []
    for times in ANCHORS:
        left = np.log(size_left / (steady_left + (size_left - steady_left) / times))
        value = float(np.log(size / (steady + (size - steady) / times)))
        stderr = float(np.sqrt(progress.left_out.max()) * np.linalg.norm(left - value))
        log = t_interval(value, stderr, progress.freedom)
        found.append(
            Gain(
                remedy=BATCH,
                arm=None,
                gain=_ratio(log),
                bias_floor=1.0,
                equivalent_batch=(times, times, times),
                status=Status.OK,
                p_value=_p_value(log, progress.freedom),
                setting=f"× {times:g}",
                params={"times": times},
            )
        )
    return found


def equivalent_batch(progress: Progress, gain: float) -> float | None:
    r"""Find the batch, in multiples of the present one, that buys a gain.

    A batch k times as large leaves $\mathrm{E}u$ and divides the rest of $\mathrm{E}\|u\|_H^2$ by k, so its gain is
    $d / (s + (d - s)/k)$ with $d = \mathrm{E}\|u\|_H^2$ and $s = \|\mathrm{E}u\|_H^2$: for SGD that is
    $(1 + B_\text{simple}/b) / (1 + B_\text{simple}/kb)$.

    Args:
        progress: of the layer or the model.
        gain: a ratio, positive.

    Returns:
        k; infinity where no batch buys as much; ``None`` where the steady part cannot be told from zero.
    """
    size, steady = float(progress.size[0].mean()), float(progress.steady[0])
    if not 0.0 < steady < size:
        return None
    left = size / gain - steady
    return (size - steady) / left if left > 0.0 else float("inf")


def _places(progress: Progress, allowed: Callable[[Arm], bool]) -> list[int]:
    return [place for place, arm in enumerate(progress.arms) if place > 0 and allowed(arm)]


def _problem(progress: Progress) -> Status:
    """Refuse where the plain update makes no progress, or where no arm's progress can be told from zero.

    The plain one's own need not be sure: loud draws make it vary, and that is what the interval of a gain is for.
    """
    if progress.size[0].min() <= 0.0:
        return Status.ALL_ZERO
    left = progress.along_left
    if progress.along[0].min() <= 0.0 or left[:, 0].mean(axis=-1).min() <= 0.0:
        return Status.NO_SIGNAL
    sure = any(_jackknife(along, left[:, arm], progress).low > 0.0 for arm, along in enumerate(progress.along))
    return Status.OK if sure else Status.NO_SIGNAL


def _judge(progress: Progress, places: Sequence[int]) -> Gain:
    """Judge the choice among some arms: what fold 0 chooses on fold 1, and the other way round."""
    logs = _log_gains(progress.along, progress.size)[places]
    best = places[int(np.argmax(logs.sum(axis=1)))]
    arm = progress.arms[best]
    chosen = np.argmax(logs, axis=0)[::-1]
    value = logs[chosen, [0, 1]]
    left = _log_gains(np.moveaxis(progress.along_left, 0, -1), np.moveaxis(progress.size_left, 0, -1))[places]
    # The choice is part of what is done, so that it is made again without each block.
    again = np.argmax(left, axis=0)[::-1]
    replicates = np.take_along_axis(left, again[None], axis=0)[0].T
    if not (np.isfinite(value).all() and np.isfinite(replicates).all()):
        return Gain(arm.remedy, None, None, None, None, Status.NO_SIGNAL, setting=arm.setting)
    log = _jackknife(value, replicates, progress)
    interval = _ratio(log)
    batches = [equivalent_batch(progress, x) for x in (interval.value, interval.low, interval.high)]
    known = [batch for batch in batches if batch is not None]
    return Gain(
        remedy=arm.remedy,
        arm=arm,
        gain=interval,
        bias_floor=_bias_floor(progress, best),
        equivalent_batch=(known[0], known[1], known[2]) if len(known) == len(batches) else None,
        status=Status.AT_LEAST if progress.at_least else Status.OK,
        p_value=_p_value(log, progress.freedom),
        setting=arm.setting,
        params=progress.params[best],
    )


def _ratio(log: Interval) -> Interval:
    """Take an interval of a logarithm to one of the ratio."""
    value = float(np.exp(log.value))
    return Interval(value, value * log.stderr, float(np.exp(log.low)), float(np.exp(log.high)))


def _jackknife(
    full: Float[np.ndarray, " folds"],
    left: Float[np.ndarray, "blocks folds"],
    progress: Progress,
) -> Interval:
    r"""Build the interval of a mean over folds from what leaving out each block changes in either fold.

    A block is one of k in a fold, and k is not the same in both, so that each change has its own factor:

    $$\mathrm{se}^2 = \sum_b \Big(\tfrac{1}{2} \sum_f \sqrt{\tfrac{k_{bf} - 1}{k_{bf}}}\,
    (\theta_{f(b)} - \theta_f)\Big)^2$$

    One factor of 7/8 for all would make intervals a third too wide.

    Args:
        full: of all draws, by fold.
        left: with each block left out.
        progress: whose blocks they are.

    References:
        Efron & Stein 1981, equation 1.4; the sum over parts is the stratified form.
    """
    stderr = float(np.linalg.norm((np.sqrt(progress.left_out) * (left - full)).mean(axis=1)))
    return t_interval(float(full.mean()), stderr, progress.freedom)


def _p_value(log: Interval, freedom: int) -> float:
    if log.stderr == 0.0:
        return 0.0 if log.value > 0.0 else 1.0
    return float(stdtr(freedom, -log.value / log.stderr))


def _log_gains(
    along: Float[np.ndarray, "arms ..."], size: Float[np.ndarray, "arms ..."]
) -> Float[np.ndarray, "arms ..."]:
    """Log of (n²/d) / (n₀²/d₀) with the first arm as 0; minus infinity where an arm makes no progress."""
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(along > 0.0, 2.0 * np.log(np.abs(along)) - np.log(size), -np.inf)
        return own - own[0]


def _bias_floor(progress: Progress, place: int) -> float | None:
    along, steady = progress.along.mean(axis=-1), progress.steady
    if steady[place] <= 0.0 or steady[0] <= 0.0 or along[place] <= 0.0:
        return None
    return float((along[place] / along[0]) ** 2 * steady[0] / steady[place])
