"""From progress to gains: ratios with intervals, parameters chosen on one fold and judged on the other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.records import Status
from gnoise.stats.evidence.arms import Arm
from gnoise.stats.evidence.progress import Progress
from gnoise.stats.intervals import Interval, jackknife


@dataclass(frozen=True)
class Gain:
    """What a remedy buys per step, against none.

    Attributes:
        remedy: its family.
        arm: the setting that did best over both folds; ``None`` without a gain.
        gain: ratio of progress per step with its 95% interval, of settings chosen on one fold and judged on the
            other; ``None`` with a status.
        bias_floor: the same ratio if all noise were gone and only what the remedy does to the signal were left: below 1
            it distorts the signal itself. ``None`` where noise hides it.
        equivalent_batch: batch, in multiples of the present one, that buys as much where averaging works as it does on
            Gaussian noise; an end is infinite where no batch would. ``None`` where noise hides it.
        status: ``OK``, or why there is no gain.
    """

    remedy: str
    arm: Arm | None
    gain: Interval | None
    bias_floor: float | None
    equivalent_batch: tuple[float, float, float] | None
    status: Status


def gains(progress: Progress) -> list[Gain]:
    """Judge every remedy: its setting is chosen on one fold and its gain reported on the other, both ways.

    Choosing and reporting on the same draws would pay the winner for its luck. Intervals leave out each of eight
    blocks of draws, in remedy and none alike, and are symmetric in the logarithm.

    Args:
        progress: of one layer, or of the model.
    """
    status = _problem(progress)
    remedies = list(dict.fromkeys(arm.remedy for arm in progress.arms[1:]))
    if status is not Status.OK:
        return [Gain(remedy, None, None, None, None, status) for remedy in remedies]
    return [_judge(progress, remedy) for remedy in remedies]


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


def _problem(progress: Progress) -> Status:
    """Refuse where the plain update's own progress cannot be told from zero."""
    if progress.size[0].min() <= 0.0:
        return Status.ALL_ZERO
    sure = jackknife(progress.along_left[:, 0].mean(axis=-1), float(progress.along[0].mean()))
    return Status.OK if sure.low > 0.0 and progress.along[0].min() > 0.0 else Status.NO_SIGNAL


def _judge(progress: Progress, remedy: str) -> Gain:
    places = [place for place, arm in enumerate(progress.arms) if arm.remedy == remedy]
    logs = _log_gains(progress.along, progress.size)[places]
    best = places[int(np.argmax(logs.sum(axis=1)))]
    # What fold 0 chooses is judged on fold 1, and the other way round.
    chosen = np.argmax(logs, axis=0)[::-1]
    value = float(logs[chosen, [0, 1]].mean())
    left = _log_gains(np.moveaxis(progress.along_left, 0, -1), np.moveaxis(progress.size_left, 0, -1))[places]
    replicates = left[chosen, [0, 1]].mean(axis=0)
    if not (np.isfinite(value) and np.isfinite(replicates).all()):
        return Gain(remedy, None, None, None, None, Status.NO_SIGNAL)
    log = jackknife(replicates, value)
    gain = float(np.exp(value))
    interval = Interval(gain, gain * log.stderr, float(np.exp(log.low)), float(np.exp(log.high)))
    batches = [equivalent_batch(progress, x) for x in (interval.value, interval.low, interval.high)]
    known = [batch for batch in batches if batch is not None]
    ruler = (known[0], known[1], known[2]) if len(known) == len(batches) else None
    return Gain(remedy, progress.arms[best], interval, _bias_floor(progress, best), ruler, Status.OK)


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
