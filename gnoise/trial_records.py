"""The nouns of a trial: what was to be trained, what came of it, and what that means."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gnoise.records import JsonValue, Status


class TrialState(StrEnum):
    """How far a trial came."""

    RUNNING = "running"
    SETTLED = "settled"
    COMPLETE = "complete"
    OUT_OF_TIME = "out_of_time"


@dataclass(frozen=True)
class TrialPlan:
    """What a trial trains, so that it can go on after an interruption with the same result.

    Attributes:
        source: checkpoint that training branches from.
        references: ``data``, ``factory``, ``loss`` and ``held_out`` as they were given or found.
        arms: names, ``none`` first; anchors included.
        predicted: evidence's gain of an arm with both ends of its interval, where the run has one.
        seeds: of data order, the same for all arms; as many as may be used.
        steps: of the arm without remedy.
        batch_size: examples of one step.
        learning_rate: the checkpoint's; scaled by what the tuning finds best.
        multiples: of the learning rate which are tried first, without remedy.
        evaluate_every: steps between two looks at the held-out examples.
        held_out_examples: how many.
        optimizer: its name and settings.
        with_state: whether the checkpoint's optimizer state goes with every arm.
        device: torch device, as text.
        dtype: of the parameters.
        budget: seconds; ``None`` without one.
        request: what was asked for; a trial goes on where an unfinished one was asked for the same.
    """

    source: str
    references: Mapping[str, str]
    arms: tuple[str, ...]
    predicted: Mapping[str, tuple[float, float, float]]
    seeds: tuple[int, ...]
    steps: int
    batch_size: int
    learning_rate: float
    multiples: tuple[float, ...]
    evaluate_every: int
    held_out_examples: int
    optimizer: Mapping[str, JsonValue]
    with_state: bool
    device: str
    dtype: str
    budget: float | None
    request: Mapping[str, JsonValue]


@dataclass(frozen=True)
class TrialCurve:
    """One training of a trial.

    Attributes:
        arm: its name; ``tuning`` without remedy while the learning rate is looked for.
        seed: of its data order.
        learning_rate: its peak.
        examples: trained on at each evaluation, ascending; the first is 0.
        loss: mean held-out loss there.
        spikes: steps whose training loss stood out from the 32 before it by six of their standard deviations.
        seconds: of training, evaluations left out.
        status: ``OK``, or why it ended early; then the curve is what there was.
    """

    arm: str
    seed: int
    learning_rate: float
    examples: tuple[int, ...]
    loss: tuple[float, ...]
    spikes: int
    seconds: float
    status: Status


@dataclass(frozen=True)
class ArmResult:
    """What one arm of a trial came to, beside the one without remedy and the same seeds.

    Attributes:
        arm: its name.
        seeds: pairs behind the numbers.
        loss: mean final held-out loss.
        difference: final loss less that without remedy; ``None`` with fewer than two pairs.
        difference_low: lower end of its 95% interval.
        difference_high: upper end.
        tokens_saved: share of the tokens that training without remedy needs to the same loss; negative where it needs
            fewer. ``None`` with a status.
        low: lower end of its 95% interval.
        high: upper end.
        detectable: saving that a trial like this one would have told from none four times in five.
        spikes: over all seeds.
        ended_early: how many trainings diverged or broke off.
        overhead: time of a step over one without remedy, less one; median over seeds.
        predicted: evidence's gain, with both ends of its interval; ``None`` without evidence.
        status: ``OK``, or why there is no saving.
    """

    arm: str
    seeds: int
    loss: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    tokens_saved: float | None
    low: float | None
    high: float | None
    detectable: float | None
    spikes: int
    ended_early: int
    overhead: float | None
    predicted: tuple[float, float, float] | None
    status: Status


@dataclass(frozen=True)
class Trial:
    """A plan and all trainings of it that have ended.

    Attributes:
        number: within its run file, from 1.
        plan: what was to be trained.
        curves: in the order they ended.
        state: how far it came.
        created: ISO 8601, UTC.
    """

    number: int
    plan: TrialPlan
    curves: tuple[TrialCurve, ...]
    state: TrialState
    created: str
