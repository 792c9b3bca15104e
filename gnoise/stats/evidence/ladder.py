"""Every remedy on every layer, and on the model: the rows that a run keeps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from gnoise.records import (
    CoordinateSample,
    Evidence,
    EvidenceRole,
    Kind,
    Layer,
    LayerSamples,
    NormSample,
    Remedy,
    Status,
)
from gnoise.stats.discovery import benjamini_hochberg
from gnoise.stats.evidence.along_path import measure_along
from gnoise.stats.evidence.arms import ARMS, Arm
from gnoise.stats.evidence.calibration import calibrated
from gnoise.stats.evidence.gain import BATCH, Gain, batch_gains, best_gain, gains, setting_gains
from gnoise.stats.evidence.matrix_arms import is_followed
from gnoise.stats.evidence.matrix_progress import matrix_progress
from gnoise.stats.evidence.optimizers import Simulated, Spectral
from gnoise.stats.evidence.progress import Progress, add_progress, measure_progress
from gnoise.stats.evidence.rates import every_rate_progress, rate_progress

_ALONE = 0.5
"""One example with more than this share of all squared norms decides alone what any remedy gains."""
_SPREAD = 0.1
"""Of its entries at least this share must carry it: a third does where they are Gaussian."""


@dataclass(frozen=True)
class Judged:
    """What was found of one layer.

    Attributes:
        layer: its name.
        rows: of its own.
        problem: why there is no more, or ``OK``.
        part: what it adds to the model's progress, if anything.
    """

    layer: str
    rows: tuple[Evidence, ...]
    problem: Status
    part: Progress | None


class Ladders:
    """Judges layers one by one, keeps two numbers an arm of each that is added, and ranks what there is.

    Args:
        optimizer: what the updates go through.
        arms: whose rows are wanted, of :data:`ARMS`; all are measured, so that no row depends on which are wanted.
        rates: whether learning rates of single layers are judged as well.
        moving: whether the weights moved on between one pair of draws and the next.
        spectral: what hidden matrices go through instead, if anything; the model is then judged by these alone, because
            their updates are not measured in the same norm as the others', and no learning rates are.
    """

    def __init__(
        self,
        optimizer: Simulated,
        arms: Sequence[Arm] = ARMS,
        *,
        rates: bool = True,
        moving: bool = False,
        spectral: Spectral | None = None,
    ) -> None:
        self._optimizer, self._arms, self._rates, self._spectral = optimizer, tuple(arms), rates, spectral
        self._progress = measure_along if moving else measure_progress
        self._moving = moving
        self._rows: list[Evidence] = []
        self._parts: dict[str, Progress] = {}
        self._problems: list[Status] = []

    def judge(self, layer: Layer, samples: LayerSamples) -> Judged:
        """Judge every arm on one layer, which is not added by that.

        Args:
            layer: whose samples these are.
            samples: only coordinates and norms are looked at.
        """
        matrix = self._spectral is not None and is_followed(layer)
        progress = self._follow(samples) if matrix else self._measure(samples.norms, samples.coordinates)
        if isinstance(progress, Status):
            return Judged(layer.name, (_nothing(layer.name, progress),), progress, None)
        part = progress if matrix else None
        if self._spectral is None:
            part = progress.scaled(layer.numel / samples.coordinates.index.size)
        return Judged(
            layer.name, tuple(self._wanted(layer.name, progress, lambda arm: _suits(arm, layer))), Status.OK, part
        )

    def add(self, judged: Judged) -> None:
        """Add a layer to the model.

        Args:
            judged: by these ladders, or others of the same settings.
        """
        self._rows += judged.rows
        if judged.problem is not Status.OK:
            self._problems.append(judged.problem)
        if judged.part is not None:
            self._parts[judged.layer] = judged.part

    def rows(self) -> list[Evidence]:
        """Rank the whole model first, then layer by layer, with p-values adjusted for the number of layers."""
        if not self._parts:
            status = self._problems[0] if self._problems else Status.TOO_FEW_DRAWS
            return [_nothing(None, status), *self._rows]
        parts = list(self._parts.values())
        whole = add_progress(parts)
        of_model, of_layers = self._wanted(None, whole, lambda arm: arm.for_model), list(self._rows)
        if self._rates and self._spectral is None and len(parts) > 1:
            of_model += _of_rates(None, every_rate_progress(parts))
            for name, part in self._parts.items():
                of_layers += _of_rates(name, rate_progress(whole, part))
        return [calibrated(row, along_path=self._moving) for row in (*of_model, *_adjusted(of_layers))]

    def _wanted(self, layer: str | None, progress: Progress, allowed: Callable[[Arm], bool]) -> list[Evidence]:
        found = _rows(layer, progress, lambda arm: arm in self._arms and allowed(arm))
        wanted = {arm.remedy for arm in self._arms}
        return [row for row in found if row.role is EvidenceRole.BEST or row.remedy in {*wanted, BATCH}]

    def _follow(self, samples: LayerSamples) -> Progress | Status:
        if self._spectral is None:
            raise RuntimeError("follow without a matrix optimizer")
        if _one_example(samples.norms, samples.coordinates.values):
            return Status.ONE_EXAMPLE
        return matrix_progress(samples.progress, self._spectral, draw_sq_norms=samples.norms.draw_sq_norms)

    def _measure(self, norms: NormSample, coordinates: CoordinateSample) -> Progress | Status:
        if _one_example(norms, coordinates.values):
            return Status.ONE_EXAMPLE
        return self._progress(coordinates, self._optimizer, ARMS)


def _one_example(norms: NormSample, values: Float[np.ndarray, "draws coords"]) -> bool:
    """Tell one example that is louder than all others together from one entry that is: the latter a remedy may tame."""
    sq_norms = norms.example_sq_norms
    if not (sq_norms.size and np.isfinite(sq_norms).all() and sq_norms.max() > _ALONE * sq_norms.sum() > 0.0):
        return False
    squares = np.square(values.astype(np.float64))
    energy = squares.sum(axis=1)
    loudest = int(energy.argmax())
    spread = energy[loudest] ** 2 > _SPREAD * values.shape[1] * np.square(squares[loudest]).sum()
    return bool(energy[loudest] > _ALONE * energy.sum() and spread)


def _suits(arm: Arm, layer: Layer) -> bool:
    """Tell what a layer may be recommended: nothing of the whole model's, and no deleting of rare tokens' gradients."""
    return arm.for_layer and not (arm.redescends and layer.kind in (Kind.EMBEDDING, Kind.HEAD))


def _rows(layer: str | None, progress: Progress, allowed: Callable[[Arm], bool]) -> list[Evidence]:
    best = best_gain(progress, allowed)
    found = [] if best is None else [_row(layer, best, EvidenceRole.BEST, progress.draws)]
    found += [_row(layer, each, EvidenceRole.REMEDY, progress.draws) for each in gains(progress)]
    return found + [
        _row(layer, each, EvidenceRole.SETTING, progress.draws)
        for each in (*setting_gains(progress), *batch_gains(progress))
    ]


def _of_rates(layer: str | None, progress: Progress) -> list[Evidence]:
    """One row for the rate of choice, and one for each; none is the layer's best, whose gains are the layer's own."""
    chosen = [_row(layer, each, EvidenceRole.REMEDY, progress.draws) for each in gains(progress)]
    return chosen + [_row(layer, each, EvidenceRole.SETTING, progress.draws) for each in setting_gains(progress)]


def _row(layer: str | None, gain: Gain, role: EvidenceRole, draws: int) -> Evidence:
    interval, bounded = gain.gain, gain.status is not Status.AT_LEAST
    batches = [x if math.isfinite(x) else None for x in gain.equivalent_batch or (math.inf,) * 3]
    return Evidence(
        layer=layer,
        remedy=gain.remedy,
        setting=gain.setting,
        params=gain.params,
        role=role,
        gain=None if interval is None else interval.value,
        low=None if interval is None else interval.low,
        high=interval.high if interval is not None and bounded else None,
        bias_floor=gain.bias_floor,
        batch=batches[0],
        batch_low=batches[1],
        batch_high=batches[2] if bounded else None,
        p_value=gain.p_value,
        n=draws,
        status=gain.status,
    )


def _nothing(layer: str | None, status: Status) -> Evidence:
    return _row(layer, Gain(str(Remedy.NONE), None, None, None, None, status), EvidenceRole.BEST, 0)


def _adjusted(rows: Sequence[Evidence]) -> list[Evidence]:
    """Compare layers: the same remedy and setting, or the best of each, over all that have a p-value."""
    asked: dict[tuple[EvidenceRole, str, str], list[int]] = {}
    for place, row in enumerate(rows):
        if row.p_value is not None:
            key = (row.role, row.remedy, row.setting)
            if row.role is EvidenceRole.BEST:
                key = (row.role, "", "")
            elif row.role is EvidenceRole.REMEDY:
                key = (row.role, row.remedy, "")
            asked.setdefault(key, []).append(place)
    adjusted = list(rows)
    for places in asked.values():
        q_values = benjamini_hochberg(np.array([rows[place].p_value for place in places], dtype=np.float64))
        for place, q in zip(places, q_values, strict=True):
            adjusted[place] = replace(rows[place], q_value=float(q))
    return adjusted
