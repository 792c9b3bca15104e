"""Callbacks for the Hugging Face Trainer."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gnoise.remedies import NoiseScaleBatchSchedule


class BatchScheduleCallback(TrainerCallback):
    """Let a batch schedule set the Trainer's ``gradient_accumulation_steps`` while it trains.

    The Trainer takes a step whenever the micro-batches since the epoch began divide by that number. So a larger one
    is taken up after the first optimizer step where that holds, the largest such number the schedule allows; at the
    start of an epoch any is. Epochs then have fewer optimizer steps than the Trainer planned its learning-rate
    schedule and ``max_steps`` for: a constant learning rate is what the schedule assumes. Tokens are counted as
    examples of full length, and are not kept in the Trainer's checkpoints: keep ``schedule.state_dict()`` beside them.

    Args:
        schedule: made for the Trainer's ``per_device_train_batch_size`` and number of processes.
    """

    def __init__(self, schedule: NoiseScaleBatchSchedule) -> None:
        self.schedule = schedule
        self._micro_batches = 0

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start counting micro-batches anew."""
        self._micro_batches = 0
        self._follow(args)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step just taken."""
        self._micro_batches += args.gradient_accumulation_steps
        self.schedule.step(args.gradient_accumulation_steps * self.schedule.tokens_per_micro_batch)
        self._follow(args)

    def _follow(self, args: TrainingArguments) -> None:
        wanted, now = self.schedule.accumulation_steps, args.gradient_accumulation_steps
        allowed = (n for n in range(wanted, now, -1) if self._micro_batches % n == 0)
        args.gradient_accumulation_steps = next(allowed, now)
