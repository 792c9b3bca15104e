"""The caller's own loader: ``module:function`` whose batches are cut to size."""

import inspect
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch import Tensor

from gnoise.data.batches import as_batch, cut, describe, examples_in, join, layout, tensors
from gnoise.data.data import Batch, Drawn, LoadedData, Wanted
from gnoise.data.windows import check_batch_size
from gnoise.errors import UserError, unreadable
from gnoise.references import is_reference, load_reference

LOOKS_FOR: str = "module:function that yields batches"

_OPTIONS = ("batch_size", "seed")


def accepts(reference: str) -> bool:
    """Recognise ``module:function``."""
    return is_reference(reference)


def load(reference: str, *, wanted: Wanted) -> LoadedData:
    """Call the function for its first yield, to see what an example is.

    The function is called with ``batch_size`` and ``seed`` where its signature has them. It yields a
    tensor, a tuple or a dict of tensors with the examples along dimension 0; yields of any size are cut and
    joined into batches of exactly the size asked for. When it ends it is called again, with the next seed.
    Its examples are numbered in the order in which they come.

    Raises:
        UserError: a wrong reference or signature (exit 2); it yields nothing, or no batches (exit 3).
    """
    supply = _Supply(reference, wanted)
    first = next(supply.yields(batch_size=1, seed=0))
    example, tokens = _example(first, wanted)
    return LoadedData(
        description=f"{reference}: {describe(first)} at a time",
        example=example,
        tokens_per_example=tokens,
        draw=supply.draw,
    )


class _Supply:
    """The caller's function, and what its yields must look like."""

    def __init__(self, reference: str, wanted: Wanted) -> None:
        self.reference = reference
        self.function = load_reference(reference, folder=wanted.folder, option="--data")
        self.options = _options(reference, self.function)

    def draw(self, batch_size: int, seed: int) -> Iterator[Drawn]:
        """Cut and join what the function yields into batches of one size."""
        check_batch_size(batch_size)
        parts: list[Batch] = []
        waiting = taken = 0
        for batch in self.yields(batch_size=batch_size, seed=seed):
            parts.append(batch)
            waiting += examples_in(batch)
            if waiting < batch_size:
                continue
            whole = self._joined(parts)
            full = waiting - waiting % batch_size
            for start in range(0, full, batch_size):
                ids = np.arange(taken, taken + batch_size, dtype=np.int64)
                yield Drawn(cut(whole, start, start + batch_size), ids)
                taken += batch_size
            parts = [cut(whole, full, waiting)] if waiting > full else []
            waiting -= full

    def yields(self, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield checked batches of any size, starting the function again when it ends."""
        while True:
            given = {"batch_size": batch_size, "seed": seed}
            empty = True
            for item in self._items({key: given[key] for key in self.options}):
                empty = False
                yield self._checked(item)
            if empty:
                raise unreadable(
                    f"expected batches from {self.reference}, got none (it ended at once, called with "
                    f"{', '.join(self.options) or 'nothing'}); try a function that yields tensors"
                )
            seed += 1

    def _items(self, options: dict[str, int]) -> Iterator[object]:
        try:
            items = self.function(**options)
            if not isinstance(items, Iterable) or isinstance(items, Tensor):
                raise unreadable(
                    f"expected {self.reference} to yield batches, got {describe(items)}; "
                    "try a generator, a list or a DataLoader"
                )
            yield from items
        except UserError:
            raise
        except Exception as error:
            raise unreadable(
                f"expected batches from {self.reference}, got {type(error).__name__}: {error}; "
                "try calling it in a Python session"
            ) from error

    def _checked(self, item: object) -> Batch:
        batch = as_batch(item)
        if batch is None:
            raise unreadable(
                f"expected a tensor, a tuple or a dict of tensors from {self.reference}, with one number of "
                f"examples along dimension 0, got {describe(item)}; try torch.as_tensor and equal lengths"
            )
        return batch

    def _joined(self, parts: list[Batch]) -> Batch:
        odd = next((part for part in parts if layout(part) != layout(parts[0])), None)
        if odd is not None:
            raise unreadable(
                f"expected batches of {self.reference} alike but for dimension 0, got {describe(parts[0])} "
                f"and {describe(odd)}; try padding to one length"
            )
        return join(parts)


def _options(reference: str, function: Callable[..., object]) -> tuple[str, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise UserError(f"expected {reference} to be a Python function, got {error}; try wrapping it in one") from error
    kinds = {parameter.name: parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds.values():
        return _OPTIONS
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    options = tuple(name for name in _OPTIONS if kinds.get(name) in by_name)
    required = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        and parameter.name not in options
    ]
    if required:
        raise UserError(
            f"expected {reference} to need no arguments but batch_size and seed, got {', '.join(required)}; "
            "try a default for each"
        )
    return options


def _example(batch: Batch, wanted: Wanted) -> tuple[str, int | None]:
    first = tensors(batch)[0]
    if first.ndim == 4:
        return "image", None
    of_tokens = wanted.block_size is not None or wanted.vocab_size is not None
    if of_tokens and first.ndim == 2 and not first.is_floating_point():
        # One tensor of sequences is its own inputs and targets, shifted: the last token is only a target.
        return "sequence", first.shape[1] - (1 if isinstance(batch, Tensor) else 0)
    return "row", None
