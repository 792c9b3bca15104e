"""Two runs side by side: of the same layers, what changed."""

from pathlib import Path

import numpy as np

from gnoise.errors import UserError
from gnoise.records import Estimate
from gnoise.runfile.run import Run, open_run
from gnoise.stats.changes import PAIRED, Change, adjusted, change_of, loss_change, paired_changes

Key = tuple[str | None, str]


def compare(first: str | Path, second: str | Path) -> list[Change]:
    """Compare two run files: checkpoints of one training, or two trainings.

    Where both drew the same examples (the same data, seed, draws and batch size), noise scales and losses are
    compared in pairs, which takes out what they owe to the examples. Everything else is compared by its intervals.

    Args:
        first: run file.
        second: run file.

    Returns:
        every quantity of every layer both have, the model first; what is sure is sure for all layers together.

    Raises:
        UserError: not runs, not analysed, or without a layer in common.
    """
    with open_run(first) as one, open_run(second) as other:
        return changes(one, other)


def changes(first: Run, second: Run) -> list[Change]:
    """Compare two open runs; see :func:`compare`."""
    before = {(each.layer, each.quantity): each for each in first.estimates}
    after = {(each.layer, each.quantity): each for each in second.estimates}
    for run, found in ((first, before), (second, after)):
        if not found:
            raise UserError(f"expected an analysed run, got none in {run.path}; try gnoise analyze {run.path}")
    shared = {layer.name for layer in first.layers} & {layer.name for layer in second.layers}
    if not shared:
        raise UserError(
            f"expected layers of the same names in {first.path} and {second.path}, got none; "
            "try two checkpoints of one training, or of one architecture"
        )
    together = have_same_draws(first, second)
    names = [None, *(layer.name for layer in second.layers if layer.name in shared)]
    out = [loss_change(first.draws.example_losses, second.draws.example_losses)] if together else []
    for name in names:
        keys = [key for key in after if key[0] == name and key in before]
        out += _paired(first, second, name, before, after) if together else []
        out += [change_of(before[key], after[key]) for key in keys if not (together and key[1] in PAIRED)]
    return adjusted(out)


def have_same_draws(first: Run, second: Run) -> bool:
    """Whether two runs drew the same examples in the same order.

    Args:
        first: open.
        second: open.
    """
    if (first.info.data, first.info.examples_per_draw) != (second.info.data, second.info.examples_per_draw):
        return False
    return np.array_equal(first.draws.example_ids, second.draws.example_ids)


def _paired(
    first: Run, second: Run, name: str | None, before: dict[Key, Estimate], after: dict[Key, Estimate]
) -> list[Change]:
    pairs = [(before[name, q], after[name, q]) for q in PAIRED if (name, q) in before and (name, q) in after]
    norms = [run.model_norms if name is None else run.norms(name) for run in (first, second)]
    return paired_changes(norms[0], norms[1], pairs)
