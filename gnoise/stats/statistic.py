"""What a statistic is: one documented sample in, estimates and verdicts out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gnoise.records import (
    CoordinateSample,
    DrawSample,
    Finding,
    JsonValue,
    Layer,
    MatrixSample,
    NormSample,
    ProgressSample,
    SketchSample,
)

SampleT = TypeVar("SampleT", NormSample, SketchSample, CoordinateSample, MatrixSample, ProgressSample)


@dataclass(frozen=True)
class Subject:
    """What a sample is of, with the names people know its parts by.

    Attributes:
        layer: the layer; ``None`` for the whole model.
        row_labels: the token behind each row of an embedding or head; empty elsewhere.
        draws: which examples were drawn.
        optimizer: the checkpoint's own hyper-parameters, e.g. ``clip_global_norm``.
        under: optimizer that its remedies are judged under; empty is the checkpoint's own.
        moving: whether the weights moved on between one pair of draws and the next.
    """

    layer: Layer | None
    row_labels: tuple[str, ...] = ()
    draws: DrawSample | None = None
    optimizer: Mapping[str, JsonValue] = field(default_factory=dict)
    under: str = ""
    moving: bool = False

    @property
    def name(self) -> str | None:
        """Layer name, ``None`` for the model: what goes into :attr:`Estimate.layer`."""
        return None if self.layer is None else self.layer.name


def _nothing(subject: Subject) -> Sequence[Finding]:
    del subject
    return ()


@dataclass(frozen=True)
class Statistic(Generic[SampleT]):
    """A pure function of one sample, and what it reports.

    Attributes:
        name: for tables of contents.
        needs: the sample's type.
        quantities: names from :mod:`gnoise.quantities`, each reported exactly once per subject, or none of them.
        estimate: the function; never raises on bad data, says so in a status.
        whole_model: also run on the sum over layers (only :class:`NormSample` has one).
        absent: what is reported, by the same rules, of a subject without such a sample.
        questions: names from :data:`gnoise.quantities.QUESTIONS`, each answered once where quantities are reported.
    """

    name: str
    needs: type[SampleT]
    quantities: tuple[str, ...]
    estimate: Callable[[Subject, SampleT], Sequence[Finding]]
    whole_model: bool = False
    absent: Callable[[Subject], Sequence[Finding]] = _nothing
    questions: tuple[str, ...] = ()


AnyStatistic = (
    Statistic[NormSample]
    | Statistic[SketchSample]
    | Statistic[CoordinateSample]
    | Statistic[MatrixSample]
    | Statistic[ProgressSample]
)
"""A statistic of whichever sample."""
