"""Callbacks for the Hugging Face Trainer."""

from collections.abc import Mapping, Sized
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from gnoise.errors import UserError
from gnoise.export import load_schedule, schedule_document
from gnoise.remedies import NoiseScaleBatchSchedule


class BatchScheduleCallback(TrainerCallback, ExportableState):
    """Let a batch schedule set the Trainer's ``gradient_accumulation_steps`` while it trains.

    The Trainer takes a step whenever the micro-batches since the epoch began divide by that number. So a larger one
    is taken up after the first optimizer step where that holds, the largest such number the schedule allows; at the
    start of an epoch any is. Epochs then have fewer optimizer steps than the Trainer planned its learning-rate
    schedule and ``max_steps`` for: a constant learning rate is what the schedule assumes.

    Tokens are counted as examples of full length, and kept in the Trainer's checkpoints: a resumed training goes on
    at the batch size it had. Which examples it goes on with is the Trainer's own count: where batches grew within the
    epoch it skips fewer than were seen; ``ignore_data_skip=True`` draws the epoch's order anew instead.

    Args:
        schedule: made for the Trainer's ``per_device_train_batch_size`` and number of processes; or what a
            checkpoint of the Trainer kept of one.
    """

    def __init__(self, schedule: NoiseScaleBatchSchedule | Mapping[str, Any]) -> None:
        self.schedule = schedule if isinstance(schedule, NoiseScaleBatchSchedule) else _revived(schedule)
        self._micro_batches = 0
        self._of_this_step = 0
        self._skipped = 0

    def state(self) -> dict[str, Any]:
        """Return what the Trainer writes into its checkpoints."""
        return {"args": {"schedule": _kept(self.schedule)}, "attributes": {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the tokens of a checkpoint, and see how many micro-batches the Trainer passes over.

        Raises:
            UserError: the Trainer accumulates more than the schedule ever asks for; within a training it cannot fall.
        """
        most, now = self.schedule.most_steps, args.gradient_accumulation_steps
        if now > most:
            raise UserError(
                f"expected gradient_accumulation_steps of at most {most}, the schedule's largest batch, got {now}; "
                f"try gradient_accumulation_steps={self.schedule.accumulation_steps}"
            )
        kept = state.stateful_callbacks.setdefault(type(self).__name__, self.state())  # pyright: ignore
        self.schedule.load_state_dict((kept[0] if isinstance(kept, list) else kept)["args"]["schedule"])
        self._skipped = _passed_over(args, state, kwargs.get("train_dataloader"))

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start counting micro-batches anew, in a resumed epoch from those passed over."""
        self._micro_batches, self._skipped = self._skipped, 0
        self._of_this_step = 0
        self._follow(args)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count a micro-batch that no step followed."""
        self._of_this_step += 1

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step just taken; an epoch's last may have been short."""
        taken = self._of_this_step + 1
        self._of_this_step = 0
        self._micro_batches += taken
        self.schedule.step(taken * self.schedule.tokens_per_micro_batch)
        self._follow(args)

    def _follow(self, args: TrainingArguments) -> None:
        wanted, now = self.schedule.accumulation_steps, args.gradient_accumulation_steps
        allowed = (n for n in range(wanted, now, -1) if self._micro_batches % n == 0)
        args.gradient_accumulation_steps = next(allowed, now)


def _passed_over(args: TrainingArguments, state: TrainerState, batches: object) -> int:
    """Count the micro-batches of a resumed epoch that the Trainer does not run again, as it counts them."""
    if args.ignore_data_skip:
        return 0
    accumulated = args.gradient_accumulation_steps
    planned = -(-len(batches) // accumulated) if isinstance(batches, Sized) else state.max_steps
    return state.global_step % max(planned, 1) * accumulated


def _kept(schedule: NoiseScaleBatchSchedule) -> dict[str, Any]:
    return {
        "schedule": schedule_document(schedule.schedule),
        "micro_batch": schedule.micro_batch,
        "world_size": schedule.world_size,
        **schedule.state_dict(),
    }


def _revived(kept: Mapping[str, Any]) -> NoiseScaleBatchSchedule:
    schedule = NoiseScaleBatchSchedule(
        load_schedule(kept["schedule"]), micro_batch=kept["micro_batch"], world_size=kept["world_size"]
    )
    schedule.load_state_dict(kept)
    return schedule
