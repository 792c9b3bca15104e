"""A batch schedule out of the runs of one training's checkpoints."""

from collections.abc import Sequence
from pathlib import Path

from gnoise.charts.moments import Moment, alike, moment
from gnoise.charts.phrases import plural
from gnoise.charts.tables import advice
from gnoise.errors import unreadable
from gnoise.export.batch_schedule import BatchSchedule, batch_schedule, schedule_document
from gnoise.export.files import to_json
from gnoise.records import RunInfo
from gnoise.runfile import Run, check_output
from gnoise.stats.batch_cost import present_batch


def export_schedule(
    runs: Sequence[Run], path: Path, *, lowest: float | None = None, highest: float | None = None, force: bool = False
) -> list[str]:
    """Write the batch schedule through the noise scales of these runs, which ``NoiseScaleBatchSchedule`` reads.

    Args:
        runs: of one training's checkpoints, one or more, in any order.
        path: of the JSON file.
        lowest: smallest batch, in examples; see :func:`schedule_bounds` for what it is by default.
        highest: largest batch.
        force: replace the file if it exists.

    Returns:
        the schedule in words, then what to beware of in the noise scales it rests on.

    Raises:
        UserError: a run without noise scale or that does not tell how long was trained, runs of several trainings,
            bounds that cross, or the file exists without ``force``.
    """
    check_output(path, force=force)
    moments = schedule_moments(runs)
    schedule = schedule_through(moments, lowest=lowest, highest=highest)
    path.write_text(to_json(schedule_document(schedule)) + "\n", encoding="utf-8")
    cautions = [f"{each.label}: {advice(each.total)}" for each in moments if advice(each.total)]
    return [f"{schedule_words(schedule, moments[0].info)}.", *cautions]


def schedule_moments(runs: Sequence[Run]) -> list[Moment]:
    """Read the noise scale and the length of training of every run.

    Args:
        runs: of one training's checkpoints.

    Raises:
        UserError: one has no noise scale, does not tell how long was trained, or is of another training.
    """
    first, found = runs[0], list[Moment]()
    for run in runs:
        if not alike((first.info, first.layers), (run.info, run.layers)):
            raise unreadable(
                f"expected runs of one training, got {first.path.name} and {run.path.name} with other layers or "
                "examples; try runs of checkpoints of one training"
            )
        made = moment(run.path.name, run.info, run.estimates)
        if made is None:
            raise unreadable(_explain(run))
        found.append(made)
    return found


def schedule_bounds(moments: Sequence[Moment]) -> tuple[int, int]:
    """Choose the smallest and the largest batch: from the present one, or a smaller noise scale, to the largest.

    Args:
        moments: of one training, one or more.
    """
    scales = [each.total.value or 0.0 for each in moments]
    present = min(present_batch(moment.info)[0] for moment in moments)
    lowest = min(present, max(1, round(min(scales))))
    return lowest, max(lowest, round(max(scales)))


def schedule_through(
    moments: Sequence[Moment], *, lowest: float | None = None, highest: float | None = None
) -> BatchSchedule:
    """Draw the schedule through the noise scales of some moments.

    Args:
        moments: of one training, one or more, in any order.
        lowest: smallest batch, in examples; chosen by default.
        highest: largest batch.

    Raises:
        UserError: bounds that cross.
    """
    low, high = schedule_bounds(moments)
    if lowest is None:
        lowest = low if highest is None else min(low, highest)
    return batch_schedule(
        [float(each.trained) for each in moments],
        [each.total.value or 0.0 for each in moments],
        lowest=lowest,
        highest=max(high, lowest) if highest is None else highest,
        tokens_per_example=moments[0].info.tokens_per_example or 1,
    )


def schedule_words(schedule: BatchSchedule, info: RunInfo) -> str:
    """Say a schedule's knots.

    Args:
        schedule: to be told.
        info: of a run it was made from, for the units.
    """
    unit = plural(info.example)
    words = "tokens" if info.tokens_per_example else unit
    knots = zip(schedule.tokens, schedule.examples, strict=True)
    return (
        "A batch that follows the noise scale, the learning rate unchanged: "
        + ", then ".join(f"{size:.0f} {unit} at {tokens:,.0f} {words}" for tokens, size in knots)
        + ", straight lines between"
    )


def _explain(run: Run) -> str:
    name = run.path.name
    if run.info.examples_trained is None:
        return (
            f"expected a checkpoint that tells its iteration and its batch size, {name} was made from one that does "
            "not; try gnoise.export.batch_schedule(tokens, noise_scales, ...) with the tokens it was trained on"
        )
    total = next((x for x in run.estimates if x.layer is None and x.quantity == "b_simple"), None)
    if total is None:
        return f"expected the whole model's noise scale in {name}, got none; try gnoise analyze {run.path}"
    return (
        f"expected a number for the whole model's noise scale in {name}, got {total.status} ({advice(total)}); try "
        "gnoise profile with more --draws"
    )
