"""Examples to train on, and examples kept from training to judge by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnoise.collect.workload import Batch, Batches, Workload, some_of
from gnoise.data.batches import examples_in, join
from gnoise.errors import UserError
from gnoise.references import is_reference, load_reference

_ONE_IN = 10
_NAMES = (("train", "val"), ("train", "validation"), ("train", "valid"), ("train", "test"))
_FUNCTION = "held_out"
"""What a module calls the function that yields examples kept from training, beside the one that yields the others."""


@dataclass(frozen=True)
class Examples:
    """What a trial trains on and what it judges by.

    Attributes:
        train: (examples, seed) to an endless stream of batches.
        held_out: batches that no arm trains on.
        description: where the latter came from.
    """

    train: Batches
    held_out: tuple[Batch, ...]
    description: str

    @property
    def held_out_examples(self) -> int:
        """How many examples are judged by."""
        return sum(examples_in(batch) for batch in self.held_out)


def beside(data: str, *, folder: Path | None = None) -> str | None:
    """Find held-out data beside training data, by the names people give them; ``None`` without.

    Beside ``module:function`` that is a function ``held_out`` of the same module, or ``val_batches`` beside
    ``train_batches``.

    Args:
        data: path of the training data, or ``module:function``.
        folder: where modules are looked for first, the checkpoint's own.
    """
    if is_reference(data):
        module, _, function = data.partition(":")
        references = [f"{module}:{name}" for name in (_FUNCTION, *_counterparts(function))]
        return next((each for each in references if _is_there(each, folder)), None)
    path = Path(data)
    return next(
        (str(path.with_name(name)) for name in _counterparts(path.name) if path.with_name(name).is_file()), None
    )


def _counterparts(name: str) -> list[str]:
    return [name.replace(train, kept) for train, kept in _NAMES if train in name]


def _is_there(reference: str, folder: Path | None) -> bool:
    try:
        load_reference(reference, folder=folder, option="--held-out")
    except UserError:  # a module that cannot be imported says so where the training data are loaded
        return False
    return True


def split(workload: Workload, *, batch_size: int, most: int) -> Examples:
    """Take held-out examples from their own data, else every tenth example, which no arm then trains on.

    Args:
        workload: with or without held-out data of its own.
        batch_size: examples a batch of the held-out ones, at most.
        most: held-out examples, at most.

    Raises:
        UserError: there are none, and examples have no numbers to keep some by.
    """
    kept = workload.held_out
    if kept is not None:
        wanted = most if kept.examples is None else min(most, kept.examples)
        return Examples(workload.batches, _taken(kept.batches, wanted, batch_size), kept.data)
    if workload.examples is None or workload.examples < 2 * _ONE_IN:
        raise UserError(
            f"expected data kept from training, got none beside {workload.data}; "
            f"try --held-out val.bin, --held-out module:function, or a function {_FUNCTION}(batch_size, seed) beside it"
        )
    wanted = min(most, workload.examples // _ONE_IN)
    return Examples(
        _only(workload.batches, held_out=False),
        _taken(_only(workload.batches, held_out=True), wanted, batch_size),
        f"every tenth example of {workload.data}",
    )


def _taken(batches: Batches, wanted: int, batch_size: int) -> tuple[Batch, ...]:
    sizes = [batch_size] * (wanted // batch_size) + [wanted % batch_size] * bool(wanted % batch_size)
    stream = batches(1, 0)
    return tuple(join([next(stream)[0] for _ in range(size)]) for size in sizes)


def _only(batches: Batches, *, held_out: bool) -> Batches:
    """Keep the tenth of the examples whose numbers end in zero, or all others."""

    def chosen(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
        parts: list[Batch] = []
        numbers: list[int] = []
        for batch, ids in batches(1, seed):
            if (int(ids[0]) % _ONE_IN == 0) == held_out:
                parts.append(some_of(batch, slice(0, 1)))
                numbers.append(int(ids[0]))
            if len(parts) == examples:
                yield join(parts), np.array(numbers)
                parts, numbers = [], []

    return chosen
