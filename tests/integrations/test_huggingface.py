"""The callback under the Trainer's own counting, which needs `accelerate` to run and is restated here."""

from transformers import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from gnoise.export import BatchSchedule
from gnoise.integrations.huggingface import BatchScheduleCallback
from gnoise.remedies import NoiseScaleBatchSchedule

MICRO_BATCHES = 24


class Arguments(TrainingArguments):
    """The one setting the callback touches; the others look for devices."""

    def __init__(self, gradient_accumulation_steps: int) -> None:
        self.gradient_accumulation_steps = gradient_accumulation_steps


def _steps_of(callback: BatchScheduleCallback, arguments: Arguments, epochs: int) -> list[int]:
    """Count micro-batches of every optimizer step as `Trainer._run_epoch` does, checking that it fetched as many."""
    state, control, taken = TrainerState(), TrainerControl(), []
    planned = -(-MICRO_BATCHES // arguments.gradient_accumulation_steps)
    for _ in range(epochs):
        callback.on_epoch_begin(arguments, state, control)
        seen = since = 0
        for _ in range(planned):
            fetched = min(arguments.gradient_accumulation_steps, MICRO_BATCHES - seen)
            for part in range(fetched):
                seen, since = seen + 1, since + 1
                if seen % arguments.gradient_accumulation_steps == 0 or seen == MICRO_BATCHES:
                    assert part == fetched - 1
                    taken.append(since)
                    since = 0
                    callback.on_step_end(arguments, state, control)
        assert seen == MICRO_BATCHES
    return taken


def test_batches_grow_along_the_schedule() -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0, 48.0), (2.0, 10.0)), micro_batch=2)
    steps = _steps_of(BatchScheduleCallback(keeper), Arguments(1), epochs=3)
    full = [size for size in steps if size != MICRO_BATCHES % 5]  # an epoch's last step may be cut short
    assert steps[0] == 1
    assert full == sorted(full)
    assert full[-1] == 5
    assert len(set(full)) >= 4


def test_a_flat_schedule_changes_nothing() -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (4.0,)), micro_batch=2)
    assert _steps_of(BatchScheduleCallback(keeper), Arguments(2), epochs=2) == [2] * MICRO_BATCHES
    assert keeper.tokens == 2 * 2 * MICRO_BATCHES


def test_a_batch_that_is_already_larger_stays() -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (2.0,)), micro_batch=2)
    assert set(_steps_of(BatchScheduleCallback(keeper), Arguments(4), epochs=1)) == {4}
