"""The callback in the Trainer itself: what it steps on, what it counts, and how it goes on from a checkpoint."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gnoise.errors import UserError
from gnoise.export import BatchSchedule
from gnoise.integrations.huggingface import BatchScheduleCallback
from gnoise.remedies import NoiseScaleBatchSchedule

EXAMPLES = 48
MICRO_BATCH = 2
MICRO_BATCHES = EXAMPLES // MICRO_BATCH


class Numbers(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.full((1,), float(index))}


class Line(nn.Module):
    """Counts how many examples every step saw, beside fitting nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.seen += len(x)
        return {"loss": (self.weight * x - 1.0).square().mean()}


@dataclass
class Steps(TrainerCallback):
    """Notes the micro-batches behind every optimizer step."""

    model: Line
    taken: list[int] = field(default_factory=list)
    before: int = 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.taken.append((self.model.seen - self.before) // MICRO_BATCH)
        self.before = self.model.seen


def _train(
    folder: Path,
    keeper: NoiseScaleBatchSchedule,
    *,
    accumulation: int = 1,
    epochs: float = 1,
    save_steps: int | None = None,
    resume: Path | None = None,
    restore_callbacks: bool = False,
) -> tuple[list[int], BatchScheduleCallback]:
    model = Line()
    counted = Steps(model)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        save_strategy="no" if save_steps is None else "steps",
        save_steps=save_steps or 500,
        lr_scheduler_type="constant",
        restore_callback_states_from_checkpoint=restore_callbacks,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    callbacks: list[TrainerCallback] = [BatchScheduleCallback(keeper), counted]
    trainer = Trainer(model=model, args=arguments, train_dataset=Numbers(), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    (used,) = (x for x in trainer.callback_handler.callbacks if isinstance(x, BatchScheduleCallback))
    return counted.taken, used


def _growing() -> NoiseScaleBatchSchedule:
    return NoiseScaleBatchSchedule(BatchSchedule((0.0, 48.0), (2.0, 10.0)), micro_batch=MICRO_BATCH)


def test_batches_grow_along_the_schedule(tmp_path: Path) -> None:
    steps, _ = _train(tmp_path, _growing(), epochs=3)
    full = [size for size in steps if size != MICRO_BATCHES % 5]  # an epoch's last step may be cut short
    assert steps[0] == 1
    assert full == sorted(full)
    assert full[-1] == 5
    assert len(set(full)) >= 4
    assert sum(steps) == 3 * MICRO_BATCHES


def test_a_flat_schedule_changes_nothing(tmp_path: Path) -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (4.0,)), micro_batch=MICRO_BATCH)
    steps, _ = _train(tmp_path, keeper, accumulation=2, epochs=2)
    assert steps == [2] * MICRO_BATCHES
    assert keeper.tokens == 2 * EXAMPLES


def test_a_batch_above_the_schedules_largest_is_refused(tmp_path: Path) -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (2.0,)), micro_batch=MICRO_BATCH)
    with pytest.raises(UserError, match=r"at most 1, the schedule's largest batch, got 4; try .*steps=1"):
        _train(tmp_path, keeper, accumulation=4)


def test_a_batch_that_is_already_larger_stays_until_the_schedule_is_there(tmp_path: Path) -> None:
    knots = BatchSchedule((0.0, float(EXAMPLES)), (2.0, 8.0))
    keeper = NoiseScaleBatchSchedule(knots, micro_batch=MICRO_BATCH)
    assert set(_train(tmp_path, keeper, accumulation=4)[0]) == {4}


def test_a_short_last_step_counts_for_what_it_saw(tmp_path: Path) -> None:
    keeper = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (14.0,)), micro_batch=MICRO_BATCH)
    steps, _ = _train(tmp_path, keeper, accumulation=7, epochs=2)
    assert steps == 2 * [7, 7, 7, 3]
    assert keeper.tokens == 2 * EXAMPLES


def test_a_resumed_training_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    whole, counted = _train(tmp_path / "whole", _growing(), epochs=2, save_steps=4)
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    for restored in (False, True):
        keeper = _growing()
        steps, used = _train(tmp_path / str(restored), keeper, epochs=2, resume=checkpoint, restore_callbacks=restored)
        assert used.schedule.tokens == MICRO_BATCH * (sum(whole[:4]) + sum(steps))
        # The Trainer passes over as many micro-batches as four steps of one had.
        assert sum(steps) == 2 * MICRO_BATCHES - 4
        assert steps[0] >= 2, "the batch is as large as the Trainer's counting allows, at once"
        assert max(steps) == 5
    assert counted.schedule.tokens == 2 * EXAMPLES


def test_a_checkpoint_without_the_callback_starts_it_anew(tmp_path: Path) -> None:
    flat = NoiseScaleBatchSchedule(BatchSchedule((0.0,), (2.0,)), micro_batch=MICRO_BATCH)
    _train(tmp_path, flat, save_steps=4)
    state = tmp_path / "checkpoint-4" / "trainer_state.json"
    state.write_text(state.read_text().replace("BatchScheduleCallback", "AnotherCallback"))
    keeper = _growing()
    steps, _ = _train(tmp_path, keeper, save_steps=4, resume=tmp_path / "checkpoint-4")
    assert keeper.tokens == MICRO_BATCH * sum(steps)
