"""A batch size that follows the noise scale, as accumulation steps of a training run."""

import math
from collections.abc import Mapping
from pathlib import Path

from gnoise.errors import UserError
from gnoise.export import to_json
from gnoise.export.batch_schedule import BatchSchedule, load_schedule, schedule_document
from gnoise.records import JsonValue


class NoiseScaleBatchSchedule:
    """Says how many micro-batches the next step should add up, and counts tokens.

    The number never falls, batches stay within the schedule's smallest and largest though they are whole
    micro-batches, and the learning rate stays what it is::

        schedule = NoiseScaleBatchSchedule.load("schedule.json", micro_batch=8)
        for _ in range(steps):
            for _ in range(schedule.accumulation_steps):
                (loss(model, next(batches)) / schedule.accumulation_steps).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()

    B_simple is not the measured critical batch (Merrill et al. 2025, arXiv 2505.23971): batches may turn out to grow
    earlier than they need to.

    Args:
        schedule: batch size over tokens, from :func:`gnoise.export.batch_schedule`.
        micro_batch: examples in one backward pass of one process.
        world_size: processes that average their gradients.

    Attributes:
        tokens: trained on so far.

    Raises:
        UserError: no number of such micro-batches lies within the schedule's bounds.

    References:
        Gray et al. 2024, arXiv 2411.00999.
    """

    def __init__(self, schedule: BatchSchedule, *, micro_batch: int, world_size: int = 1) -> None:
        if micro_batch < 1 or world_size < 1:
            raise UserError(f"expected micro_batch and world_size of 1 or more, got {micro_batch} and {world_size}")
        self.schedule = schedule
        self.micro_batch, self.world_size = micro_batch, world_size
        self.tokens = 0
        self._together = micro_batch * world_size
        self._fewest, self._most = _bounds(schedule, self._together)
        if self._fewest > self._most:
            raise UserError(_explain(schedule, micro_batch, world_size))

    @classmethod
    def load(
        cls, source: str | Path | Mapping[str, JsonValue], *, micro_batch: int, world_size: int = 1
    ) -> "NoiseScaleBatchSchedule":
        """Read the schedule's JSON file or document.

        Raises:
            UserError: missing, unreadable (exit 3), of another format or a newer version.
        """
        return cls(load_schedule(source), micro_batch=micro_batch, world_size=world_size)

    @property
    def accumulation_steps(self) -> int:
        """Backward passes the next optimizer step should add up, one or more."""
        nearest = round(self.schedule.examples_at(self.tokens) / self._together)
        return min(max(nearest, self._fewest), self._most)

    @property
    def most_steps(self) -> int:
        """Backward passes of the schedule's largest step."""
        return self._most

    @property
    def examples(self) -> int:
        """Examples of the next optimizer step, over all processes."""
        return self.accumulation_steps * self._together

    @property
    def tokens_per_micro_batch(self) -> int:
        """Tokens of one backward pass of every process, examples at full length."""
        return self._together * self.schedule.tokens_per_example

    def step(self, tokens: int | None = None) -> None:
        """Count a step that was just taken.

        Args:
            tokens: it saw, over all processes; ``None`` for :attr:`examples` of full length.

        Raises:
            UserError: fewer than none.
        """
        seen = self.accumulation_steps * self.tokens_per_micro_batch if tokens is None else tokens
        self.tokens += _counted(seen)

    def state_dict(self) -> dict[str, int]:
        """Return what a checkpoint must keep."""
        return {"tokens": self.tokens}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a checkpoint."""
        self.tokens = _counted(state["tokens"])

    def save(self, path: str | Path) -> None:
        """Write the schedule, without the tokens counted so far, as JSON."""
        Path(path).write_text(to_json(schedule_document(self.schedule)) + "\n", encoding="utf-8")


def _counted(tokens: int) -> int:
    if not 0 <= tokens < math.inf:
        raise UserError(f"expected a number of tokens that were seen, got {tokens}; try the tokens of one step")
    return tokens


def _bounds(schedule: BatchSchedule, together: int) -> tuple[int, int]:
    """Return the fewest and the most micro-batches whose examples lie between the schedule's first and last."""
    return math.ceil(schedule.examples[0] / together), math.floor(schedule.examples[-1] / together)


def _explain(schedule: BatchSchedule, micro_batch: int, world_size: int) -> str:
    fits = (n for n in range(micro_batch - 1, 0, -1) if int.__le__(*_bounds(schedule, n * world_size)))
    smaller = next(fits, None)
    return (
        f"expected a multiple of {micro_batch * world_size} examples (micro_batch={micro_batch} on {world_size} "
        f"processes) between the schedule's smallest batch {schedule.examples[0]:g} and its largest "
        f"{schedule.examples[-1]:g}, got none; try "
        + ("a schedule with wider bounds" if smaller is None else f"micro_batch={smaller}")
    )
