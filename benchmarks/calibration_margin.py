"""How far trials were from predictions, beyond what the intervals of both allow: the margins of calibrated gains.

Of every arm of `calibration.py` the margin it needs is the least that, added in squares to its predicted interval,
would have the measured gain agree with it, the measured one's own interval allowed for. The margin of a kind of
prediction is the largest that any arm needed: of n like them one more falls outside with a chance of 1/(n + 1), if
arms were independent, which those of one training are not. So each training is left out in turn as well. Trains
nothing.

    .venv/bin/python benchmarks/calibration_margin.py
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from calibration import WORST_RATE
from calibration_table import LARGER, Point, points_of
from report import RESULTS, Cell, publish

PREDICTORS = ("frozen", "path")
GRADIENTS, RATES, BATCH = "gradients", "one layer's rate", "twice the batch"
COLUMNS = ("prediction", "of", "arms", "inside %", "margin", "as a factor", "inside, training left out %")


@dataclass(frozen=True)
class Need:
    """What one arm needs.

    Attributes:
        checkpoint: training and moment.
        arm: its name.
        margin: in the logarithm of the gain, 0 where both intervals agree as they are.
        sign: 1 where training was better than predicted, else -1.
    """

    checkpoint: str
    arm: str
    margin: float
    sign: int


HELD_OUT: tuple[Point, ...] = (
    Point(
        "gpt-docs late, batch 16",
        "clip 2v",
        {"frozen": tuple(math.log(x) for x in (0.967, 0.963, 0.972))},  # pyright: ignore
        tuple(-math.log(1.0 - x) for x in (-0.209, -0.369, -0.142)),  # pyright: ignore
    ),
    Point(
        "gpt-docs late, batch 16",
        "saturating 4m",
        {"frozen": tuple(math.log(x) for x in (0.943, 0.939, 0.947))},  # pyright: ignore
        tuple(-math.log(1.0 - x) for x in (-0.225, -0.409, -0.149)),  # pyright: ignore
    ),
    Point(
        "llama-docs",
        "clip 4v",
        {"frozen": tuple(math.log(x) for x in (1.049, 1.036, 1.062))},  # pyright: ignore
        tuple(-math.log(1.0 - x) for x in (-0.0036, -0.0077, -0.0002)),  # pyright: ignore
    ),
)
"""Trials of the samples at their own batch, as docs/results.md has them: known, and no margin is made of them."""


def main() -> None:
    """Fit and write the table."""
    document = json.loads((RESULTS / "calibration.json").read_text(encoding="utf-8"))
    points = [point for each in document["cells"] for point in points_of(each)]
    rows: list[list[Cell]] = []
    details: dict[str, object] = {}
    for predictor in PREDICTORS:
        for kind in (GRADIENTS, RATES, BATCH):
            found = [needed(p, predictor) for p in points if predictor in p.predicted and kind_of(p.arm) == kind]
            rows.append(_row(predictor, kind, found))
            details[f"{predictor}, {kind}"] = {
                "margin": margin_of(found),
                "needs": {f"{x.checkpoint}, {x.arm}": x.sign * x.margin for x in found if x.margin > 0.0},
            }
    held_out = [needed(point, "frozen") for point in HELD_OUT]
    publish(
        "calibration_margin",
        notes=[
            "inside %: arms whose predicted interval agrees with the measured gain as it is; margin: the largest",
            "that an arm needs, in the logarithm; training left out: arms that agree with the others' margin.",
            "Held out, needed: " + "; ".join(f"{x.checkpoint}, {x.arm}: {x.margin:.2f}" for x in held_out) + ".",
        ],
        settings={"checkpoints": len({p.checkpoint for p in points})},
        columns=COLUMNS,
        rows=rows,
        details={"margins": details},
    )


def kind_of(arm: str) -> str:
    """Sort an arm: what it changes decides how well it is predicted."""
    return {WORST_RATE: RATES, LARGER: BATCH}.get(arm, GRADIENTS)


def needed(point: Point, predictor: str) -> Need:
    """Find the margin with which a prediction and what was measured of it agree.

    Args:
        point: logarithms, with both ends of their intervals.
        predictor: of its predictions.

    References:
        Zou & Donner 2008, *Construction of confidence limits about effect measures*, for intervals of a difference.
    """
    predicted, low, high = point.predicted[predictor]
    measured, least, most = point.measured
    worse = measured < predicted
    of_trial, of_sample = (most - measured, predicted - low) if worse else (measured - least, high - predicted)
    left = (measured - predicted) ** 2 - of_trial**2 - of_sample**2
    return Need(point.checkpoint, point.arm, math.sqrt(max(left, 0.0)), -1 if worse else 1)


def margin_of(found: Sequence[Need]) -> float:
    """Return the largest margin that is needed."""
    return max((each.margin for each in found), default=0.0)


def _row(predictor: str, kind: str, found: Sequence[Need]) -> list[Cell]:
    margin, trainings = margin_of(found), sorted({_training(each) for each in found})
    left_out = [
        own.margin <= margin_of([other for other in found if _training(other) != name])
        for name in trainings
        for own in found
        if _training(own) == name
    ]
    inside = 100.0 * float(np.mean([each.margin == 0.0 for each in found]))
    return [predictor, kind, len(found), inside, margin, math.exp(margin), 100.0 * float(np.mean(left_out))]


def _training(need: Need) -> str:
    return need.checkpoint.partition(" ")[0]


if __name__ == "__main__":
    main()
