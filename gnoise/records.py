"""The nouns: frozen records which every room passes to the next.

Axes are named ``draws``, ``pairs`` (of consecutive draws), ``blocks`` (of draws), ``coords``,
``examples``, ``rows`` and ``columns``. A *draw* is the gradient of the mean loss over
``examples_per_draw`` examples at fixed weights; *noise* is half the difference of two consecutive
draws, times the square root of two, so it has the covariance of one draw and no mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from gnoise.samples import CoordinateSample as CoordinateSample
from gnoise.samples import DrawSample as DrawSample
from gnoise.samples import LayerSamples as LayerSamples
from gnoise.samples import MatrixSample as MatrixSample
from gnoise.samples import NormSample as NormSample
from gnoise.samples import ProgressSample as ProgressSample
from gnoise.samples import Sketch as Sketch
from gnoise.samples import SketchSample as SketchSample
from gnoise.status import Status as Status

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class Kind(StrEnum):
    """What a parameter tensor does in the network."""

    EMBEDDING = "embedding"
    HEAD = "head"
    ATTENTION = "attention"
    MLP = "mlp"
    NORM = "norm"
    CONV = "conv"
    BIAS = "bias"
    OTHER = "other"


class RunState(StrEnum):
    """How far the collection of a run came."""

    COLLECTING = "collecting"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"


@dataclass(frozen=True)
class RunInfo:
    """Enough about a run to repeat it.

    Attributes:
        model: how the model was recognised, e.g. ``nanoGPT checkpoint, 1.0 M parameters``.
        source: the SOURCE argument as typed.
        checkpoint_sha256: of the checkpoint file or the folder's weight files in order.
        data: the data reference as typed and what it was recognised as.
        example: what one example is: ``sequence``, ``row`` or ``image``.
        tokens_per_example: tokens the loss averages over in one example; ``None`` without tokens.
        loss_reduction: ``mean`` is the only one gnoise collects with.
        draws: draws asked for.
        examples_per_draw: examples one draw averages over.
        dtype: of the parameters while collecting.
        training_mode: whether dropout and its like were active.
        seed: of data order and coordinate choice.
        device: torch device, as text.
        world_size: processes.
        parameters: trainable scalars, tied ones once.
        versions: package name to version.
        command: what was typed.
        created: ISO 8601, UTC.
        examples: how many there are to draw from; ``None`` where the data do not say.
        optimizer: hyper-parameters found in the checkpoint, e.g. ``name``, ``lr``, ``batch_size``,
            ``clip_global_norm``; empty where it has none.
        references: ``data``, ``factory`` and ``loss`` as they were given or found, to load the same again; empty in
            runs of before they were kept, and for a workload of one's own.
        path_steps: steps of that optimizer the weights moved on between the first draw and the last; 0 where they were
            frozen.
        judged_under: optimizer that remedies are judged under, ``adamw``, ``sgd``, ``sign`` or ``muon``; empty is the
            checkpoint's own.
    """

    model: str
    source: str
    checkpoint_sha256: str
    data: str
    example: str
    tokens_per_example: int | None
    loss_reduction: str
    draws: int
    examples_per_draw: int
    dtype: str
    training_mode: bool
    seed: int
    device: str
    world_size: int
    parameters: int
    versions: Mapping[str, str]
    command: str
    created: str
    examples: int | None = None
    optimizer: Mapping[str, JsonValue] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    path_steps: int = 0
    judged_under: str = ""

    @property
    def examples_trained(self) -> int | None:
        """Examples the checkpoint was trained on, from its iteration and batch size; ``None`` where it lacks one."""
        steps, batch = self.optimizer.get("iteration"), self.training_batch
        return int(steps) * batch if isinstance(steps, int | float) and 0 <= steps < float("inf") and batch else None

    @property
    def training_batch(self) -> int | None:
        """Examples of one optimizer step of the checkpoint's training; ``None`` where it does not say."""
        batch = self.optimizer.get("batch_size")
        steps = self.optimizer.get("gradient_accumulation_steps", 1)
        if not isinstance(batch, int | float) or not isinstance(steps, int | float):
            return None
        return int(batch * steps) if 1 <= batch * steps < float("inf") else None


@dataclass(frozen=True)
class Layer:
    """One parameter tensor.

    Attributes:
        name: as in ``named_parameters()``; the first owner where tied.
        kind: what it does.
        shape: of the tensor.
        depth: number of the block it lives in, ``None`` outside of blocks.
        owners: every name it goes by; more than one where tied.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    depth: int | None = None
    owners: tuple[str, ...] = ()

    @property
    def numel(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Estimate:
    """One quantity of one layer: a finite number with an interval, or no number and a status.

    Attributes:
        layer: layer name; ``None`` for the whole model.
        quantity: a name from :mod:`gnoise.quantities`.
        value: point estimate, or ``None`` with a status that says why.
        low: lower end of the 95% interval; ``None`` where unbounded.
        high: upper end; ``None`` where unbounded ("≥ low").
        stderr: standard error; ``None`` where the interval is not built from one.
        n: independent values behind it (draws, pairs or blocks as the quantity documents).
        status: see :class:`Status`.
        note: names behind the number, e.g. the worst rows and their tokens.
    """

    layer: str | None
    quantity: str
    value: float | None
    low: float | None
    high: float | None
    stderr: float | None
    n: int
    status: Status
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """Which of several answers one layer's sample gives to a question, and how close it was.

    Attributes:
        layer: layer name; ``None`` for the whole model.
        question: a name from :data:`gnoise.quantities.QUESTIONS`.
        answer: one of that question's answers; ``None`` with a status that says why.
        runner_up: the next best answer; empty where nothing else was in question.
        margin: how far the answer is ahead of the runner-up, in the question's own unit; ``None`` where it has none.
        p_value: of the calm answer, this layer alone; ``None`` where none is tested.
        q_value: the same, adjusted for the number of layers asked; ``None`` until they have been compared.
        n: independent values (draws, pairs or blocks) behind it.
        status: ``OK``, or why there is no answer.
        note: names behind the answer, e.g. the loudest rows and their tokens.
    """

    layer: str | None
    question: str
    answer: str | None
    runner_up: str
    margin: float | None
    p_value: float | None
    n: int
    status: Status
    note: str = ""
    q_value: float | None = None


Finding = Estimate | Verdict
"""What a statistic reports."""


class Remedy(StrEnum):
    """What to do about a layer's noise."""

    NONE = "none"
    CLIP = "clip"
    SHRINK = "shrink"
    CLIP_NORM = "clip_norm"
    CLIP_GLOBAL_NORM = "clip_global_norm"
    STABILIZE = "stabilize"
    LAYERWISE_LR = "layerwise_lr"


class EvidenceRole(StrEnum):
    """How the setting behind a gain was chosen."""

    SETTING = "setting"
    REMEDY = "remedy"
    BEST = "best"


@dataclass(frozen=True)
class Evidence:
    """What one way to treat the gradients would have bought, against none: recorded draws, frozen weights.

    Attributes:
        layer: layer name; ``None`` for the whole model.
        remedy: a :class:`Remedy`, or ``batch``: what a larger batch would buy, the ruler for all others.
        setting: its parameter in words.
        params: its keyword arguments; empty where it has no one set of them.
        role: ``setting``: this setting alone. ``remedy``: the setting was chosen on one half of the draws and judged on
            the other, both ways; ``setting`` is the one that did best on both. ``best``: likewise, among all remedies
            that could be recommended for the layer, or for the model.
        gain: progress per step as a ratio to that of no remedy; ``None`` with a status.
        low: lower end of its 95% interval.
        high: upper end; ``None`` with a gain where only the lower one is known: ``AT_LEAST``.
        bias_floor: the gain that would be left if all noise were gone: below 1 the remedy distorts the signal. ``None``
            where noise hides it.
        batch: batch, in multiples of the present one, that buys as much; ``None`` where none would or noise hides it.
        batch_low: the same for ``low``.
        batch_high: the same for ``high``.
        p_value: of a gain of 1 or less, one-sided; ``None`` without a gain.
        q_value: the same, adjusted for the number of layers; ``None`` for the model.
        n: draws behind it.
        status: ``OK``, ``AT_LEAST``, or why there is no gain.
        tokens_saved: share of the tokens to equal loss that the gain stands for; ``None`` without a gain, for a larger
            batch, and in runs of before it was asked.
        tokens_saved_low: lower end of its 95% interval, which allows for how far trials were from such predictions,
            unlike that of the gain.
        tokens_saved_high: upper end.
    """

    layer: str | None
    remedy: str
    setting: str
    params: Mapping[str, JsonValue]
    role: EvidenceRole
    gain: float | None
    low: float | None
    high: float | None
    bias_floor: float | None
    batch: float | None
    batch_low: float | None
    batch_high: float | None
    p_value: float | None
    n: int
    status: Status
    q_value: float | None = None
    tokens_saved: float | None = None
    tokens_saved_low: float | None = None
    tokens_saved_high: float | None = None


class Severity(StrEnum):
    """How much a recommendation matters; what ``--fail-on`` compares with."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Recommendation:
    """What to do with a layer, or the model, and the estimates it rests on.

    Attributes:
        scope: ``layer`` or ``model``.
        layer: layer name; ``None`` for the model.
        remedy: what to do.
        params: the remedy's keyword arguments.
        status: ``OK`` where the evidence suffices, else why it does not.
        reason: one sentence for a person.
        because: the estimates it rests on.
        severity: how much it matters.
        gain_low: lower end of the expected gain, a ratio; ``None`` until there is evidence for one.
        gain_high: upper end.
        gain: the expected gain itself.
        alternatives: how the other remedies did, a line each, the runner-up first.
        unless: what would change this advice.
        tokens_saved: share of the tokens to equal loss that is expected to be saved; ``None`` as of :class:`Evidence`.
        tokens_saved_low: lower end of its calibrated interval.
        tokens_saved_high: upper end.
    """

    scope: str
    layer: str | None
    remedy: Remedy
    params: Mapping[str, JsonValue]
    status: Status
    reason: str
    because: tuple[Estimate, ...]
    severity: Severity = Severity.INFO
    gain_low: float | None = None
    gain_high: float | None = None
    gain: float | None = None
    alternatives: tuple[str, ...] = ()
    unless: str = ""
    tokens_saved: float | None = None
    tokens_saved_low: float | None = None
    tokens_saved_high: float | None = None
