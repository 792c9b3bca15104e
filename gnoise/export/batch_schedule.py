"""A batch size that grows with the noise scale, as a document a training run reads."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnoise.errors import UserError, unreadable
from gnoise.export.document import Document
from gnoise.records import JsonValue

BATCH_SCHEDULE_FORMAT = "gnoise.batch_schedule"
BATCH_SCHEDULE_VERSION = 1
_CAVEAT = "follows B_simple, which is not the measured critical batch (Merrill et al. 2025, arXiv 2505.23971)"


@dataclass(frozen=True)
class BatchSchedule:
    """Batch size over a training: straight lines between knots, constant outside of them.

    Attributes:
        tokens: trained on so far, at each knot, strictly rising from zero.
        examples: in a batch, at each knot, never falling.
        tokens_per_example: 1 where examples have no tokens; ``tokens`` then counts examples.

    Raises:
        UserError: knots that do not rise, or examples that fall or are fewer than one.
    """

    tokens: tuple[float, ...]
    examples: tuple[float, ...]
    tokens_per_example: int = 1

    def __post_init__(self) -> None:
        steps, rises = np.diff(self.tokens), np.diff(self.examples)
        if not np.isfinite([*self.tokens, *self.examples]).all():
            raise UserError(f"expected finite numbers, got {self.tokens} and {self.examples}; try leaving them out")
        if not self.tokens or len(self.tokens) != len(self.examples) or self.tokens[0] < 0.0 or np.any(steps <= 0.0):
            raise UserError(f"expected as many examples as rising tokens, got {self.tokens} and {self.examples}")
        if self.examples[0] < 1.0 or np.any(rises < 0.0) or self.tokens_per_example < 1:
            raise UserError(f"expected examples that never fall, from 1 on, got {self.examples}; try larger ones")

    def examples_at(self, tokens: float) -> float:
        """Return the batch size once so many tokens were trained on; not yet a whole number."""
        return float(np.interp(tokens, self.tokens, self.examples))


def batch_schedule(
    tokens: Sequence[float],
    b_simple: Sequence[float],
    *,
    lowest: float,
    highest: float,
    tokens_per_example: int = 1,
) -> BatchSchedule:
    r"""Draw a schedule through the noise scales measured at some moments of a training.

    $$B(t) = \min(\max(\max_{s \le t} B_\mathrm{simple}(s),\ \mathrm{lowest}),\ \mathrm{highest})$$

    at the moments measured, linear in tokens between them and from ``lowest`` at the start, where noise scales
    are small, unless it was measured there. It never falls: a smaller batch late would undo what the larger one
    bought. The learning rate stays what it is. The published schedule is one line between two sizes; this one has
    a knot a measurement.

    Args:
        tokens: trained on at each measurement, in any order; where two are equal their noise scales are averaged.
        b_simple: the whole model's noise scale there, in examples.
        lowest: smallest batch, in examples.
        highest: largest batch.
        tokens_per_example: as in the run.

    Raises:
        UserError: no measurement, one that is not positive, or bounds that cross.

    References:
        Gray et al. 2024, arXiv 2411.00999, for the idea and the unchanged learning rate.
    """
    sound = all(0.0 <= x < math.inf for x in tokens) and all(0.0 < x < math.inf for x in b_simple)
    if not tokens or len(tokens) != len(b_simple) or not sound:
        raise UserError(
            f"expected tokens of 0 or more, one to each positive noise scale, got {tokens} and {b_simple}; try leaving "
            "out what was not measured"
        )
    if not 1.0 <= lowest <= highest:
        raise UserError(f"expected 1 ≤ lowest ≤ highest, got {lowest} and {highest}; try lowest=8, highest=512")
    moments, place = np.unique(np.asarray(tokens, dtype=np.float64), return_inverse=True)
    means = np.bincount(place, weights=np.asarray(b_simple, dtype=np.float64)) / np.bincount(place)
    rising = np.maximum.accumulate(np.clip(means, lowest, highest)).tolist()
    start = () if moments[0] == 0.0 else ((0.0, float(lowest)),)
    knots = (*start, *zip(moments.tolist(), rising, strict=True))
    return BatchSchedule(tuple(moment for moment, _ in knots), tuple(size for _, size in knots), tokens_per_example)


def schedule_document(schedule: BatchSchedule) -> Document:
    """Return the schedule as JSON."""
    knots = zip(schedule.tokens, schedule.examples, strict=True)
    return {
        "format": BATCH_SCHEDULE_FORMAT,
        "version": BATCH_SCHEDULE_VERSION,
        "tokens_per_example": schedule.tokens_per_example,
        "knots": [{"tokens": tokens, "examples": examples} for tokens, examples in knots],
        "learning_rate": "unchanged",
        "caveat": _CAVEAT,
    }


def load_schedule(source: str | Path | Mapping[str, JsonValue]) -> BatchSchedule:
    """Read a schedule from its JSON file or document.

    Raises:
        UserError: missing, not readable (exit 3), of another format or a newer version.
    """
    document = source if isinstance(source, Mapping) else _read(Path(source))
    found = (document.get("format"), document.get("version"))
    if found != (BATCH_SCHEDULE_FORMAT, BATCH_SCHEDULE_VERSION):
        raise unreadable(
            f"expected format {BATCH_SCHEDULE_FORMAT!r}, version {BATCH_SCHEDULE_VERSION}, got {found}; "
            "try the schedule saved by this version of gnoise"
        )
    knots, width = document.get("knots"), document.get("tokens_per_example")
    try:
        tokens = tuple(float(knot["tokens"]) for knot in knots)  # pyright: ignore
        examples = tuple(float(knot["examples"]) for knot in knots)  # pyright: ignore
        if int(width) != width:  # pyright: ignore[reportArgumentType]
            raise ValueError("a fraction of a token")
        return BatchSchedule(tokens, examples, int(width))  # pyright: ignore[reportArgumentType]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise unreadable(f"expected knots of tokens and examples, got {knots!r}; try saving it again") from error


def _read(path: Path) -> Mapping[str, JsonValue]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(f"expected a batch schedule at {path}: {error}; try saving it again") from error
    if not isinstance(document, dict):
        raise unreadable(f"expected a batch schedule at {path}, got {type(document).__name__}; try saving it again")
    return document
