"""How well predictions agree with trials: order, sign and size, with intervals over checkpoints.

Run alone it does nothing. Both are multipliers: of progress a step, as evidence has it, and of steps without the arm
to the same loss, as the trial measured it; their logarithms are compared, so that ± means better and worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

LARGER = "batch_x2"
_RESAMPLES = 2000
_NORMAL = 1.959964
_SCATTERS = np.concatenate([[0.0], np.geomspace(0.003, 0.3, 10)])[:, None]


@dataclass(frozen=True)
class Point:
    """One arm at one checkpoint.

    Attributes:
        checkpoint: training and moment.
        arm: its name.
        predicted: logarithm of the gain a step, with both ends of its 95% interval, by predictor.
        measured: logarithm of the multiple of steps the arm is worth, likewise; ends may be infinite.
    """

    checkpoint: str
    arm: str
    predicted: Mapping[str, tuple[float, float, float]]
    measured: tuple[float, float, float]


@dataclass(frozen=True)
class Agreement:
    """How one predictor agrees with trials, with 95% intervals from resampling checkpoints.

    Attributes:
        points: pairs of numbers.
        rank: Spearman's correlation.
        slope: of measured over predicted, through zero, both with errors.
        within: mean over checkpoints of Spearman's correlation over the arms of each.
        signs: of pairs whose intervals both leave zero out, how many have one sign, and how many there are.
    """

    points: int
    rank: tuple[float, float, float]
    slope: tuple[float, float, float]
    within: float
    signs: tuple[int, int]


def points_of(document: Mapping[str, Any]) -> list[Point]:
    """Read the pairs of one checkpoint.

    Args:
        document: as `calibration.py` keeps it.
    """
    found: list[Point] = []
    for result in document["trial"]["results"]:
        arm, saved = result["arm"], (result["tokens_saved"], result["low"], result["high"])
        predicted = {
            name: (each[arm]["gain"], each[arm]["low"], each[arm]["high"])
            for name, each in document["predictions"].items()
            if each.get(arm, {}).get("gain") is not None
        }
        if None in saved or not predicted:  # no saving: the ruler's length was not sure
            continue
        cost = 2.0 if arm == LARGER else 1.0
        measured = tuple(float(np.log(cost / (1.0 - share))) for share in saved)
        logs = {name: tuple(float(x) for x in np.log(gain)) for name, gain in predicted.items()}
        found.append(Point(f"{document['training']} {document['moment']}", arm, logs, measured))  # pyright: ignore
    return found


def agreement(points: Sequence[Point], predictor: str) -> Agreement | None:
    """Compare one predictor with the trials.

    Args:
        points: those without this predictor are left out.
        predictor: its name.
    """
    kept = [point for point in points if predictor in point.predicted]
    names = sorted({point.checkpoint for point in kept})
    if len(kept) < 3:
        return None
    by_name = {name: _arrays([p for p in kept if p.checkpoint == name], predictor) for name in names}
    whole = np.concatenate([by_name[name] for name in names])
    rng = np.random.default_rng(0)
    again = [
        np.concatenate([by_name[names[place]] for place in rng.integers(len(names), size=len(names))])
        for _ in range(_RESAMPLES)
    ]
    rank, slope = _rank(whole), _slope(whole)
    within = [_rank(each) for each in by_name.values() if len(each) > 2]
    predicted, measured = whole[:, 0:3], whole[:, 3:6]
    sure = (predicted[:, 1] * predicted[:, 2] > 0.0) & (measured[:, 1] * measured[:, 2] > 0.0)
    same = predicted[sure, 0] * measured[sure, 0] > 0.0
    return Agreement(
        points=len(kept),
        rank=(rank, *_ends([_rank(each) for each in again])),
        slope=(slope, *_ends([_slope(each) for each in again])),
        within=float(np.mean(within)),
        signs=(int(same.sum()), int(sure.sum())),
    )


def agreement_words(name: str, found: Agreement) -> str:
    """Say in a line how a predictor agrees.

    Args:
        name: of the predictor.
        found: its agreement.
    """
    (rank, rank_low, rank_high), (slope, low, high) = found.rank, found.slope
    return (
        f"{name}: rank correlation {rank:.2f} ({rank_low:.2f} to {rank_high:.2f}) over {found.points} arms, "
        f"{found.within:.2f} within a checkpoint; slope of measured over predicted logarithms {slope:.2f} "
        f"({low:.2f} to {high:.2f}); same sign in {found.signs[0]} of {found.signs[1]} sure of both."
    )


def _arrays(points: Sequence[Point], predictor: str) -> Float[np.ndarray, "points six"]:
    return np.array([(*point.predicted[predictor], *point.measured) for point in points])


def _rank(rows: Float[np.ndarray, "points six"]) -> float:
    return float(np.corrcoef(rankdata(rows[:, 0]), rankdata(rows[:, 3]))[0, 1])


def _slope(rows: Float[np.ndarray, "points six"]) -> float:
    """Fit measured = slope · predicted with errors in both and a scatter of its own, which is fitted with it.

    References:
        York et al. 2004, *Unified equations for the slope, intercept, and standard errors of the best straight line*,
        Am. J. Phys. 72(3), with the intercept held at zero.
    """
    x, y = rows[:, 0], rows[:, 3]
    x_error, y_error = ((rows[:, i + 2] - rows[:, i + 1]) / (2.0 * _NORMAL) for i in (0, 3))

    def best(slopes: Float[np.ndarray, " slopes"]) -> float:
        variance = _SCATTERS**2 + (y_error**2 + np.outer(slopes, x_error) ** 2)[:, None]  # slopes, scatters, points
        apart = np.square(y - np.outer(slopes, x))[:, None]
        cost = (apart / variance + np.log(variance)).sum(axis=-1).min(axis=1)
        return float(slopes[cost.argmin()])

    rough = best(np.linspace(-5.0, 25.0, 121))
    return best(rough + np.linspace(-0.25, 0.25, 51))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
