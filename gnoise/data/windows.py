"""A long run of tokens as examples: windows that do not overlap, in a random order."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Integer

from gnoise.data.data import Drawn, LoadedData, Wanted
from gnoise.errors import UserError, unreadable

_CHUNK = 1 << 24


def token_data(tokens: Integer[np.ndarray, " tokens"], *, wanted: Wanted, source: str, kind: str) -> LoadedData:
    """Cut tokens into windows.

    Window i holds ``block_size`` inputs and, shifted by one, as many targets: tokens i · block_size to
    (i + 1) · block_size, both included. What is left at the end is not used.

    Args:
        tokens: ids, in an array or a memory map.
        wanted: block size and vocabulary of the model.
        source: where the tokens came from, for messages and the description.
        kind: how they were recognised, for the description.

    Raises:
        UserError: no block size (exit 2); shorter than one window, or past the vocabulary (exit 3).
    """
    block_size = wanted.block_size
    if block_size is None:
        raise UserError(
            f"expected a model with a block size to cut the tokens of {source}, got none from this one; "
            "try --data module:function that yields (inputs, targets)"
        )
    if len(tokens) < block_size + 1:
        raise unreadable(
            f"expected at least {block_size + 1:,} tokens (a window of {block_size:,} and its last target), "
            f"got {len(tokens):,} in {source}; try more data"
        )
    if wanted.vocab_size is not None:
        check_vocabulary(tokens, vocab_size=wanted.vocab_size, source=source)
    windows = (len(tokens) - 1) // block_size

    def draw(batch_size: int, seed: int) -> Iterator[Drawn]:
        return draw_windows(tokens, block_size=block_size, batch_size=batch_size, seed=seed)

    return LoadedData(
        description=f"{kind} {source}: {len(tokens):,} tokens, {windows:,} windows of {block_size:,}",
        example="sequence",
        tokens_per_example=block_size,
        draw=draw,
        examples=windows,
    )


def draw_windows(
    tokens: Integer[np.ndarray, " tokens"], *, block_size: int, batch_size: int, seed: int
) -> Iterator[Drawn]:
    """Visit every window once in a random order, then all of them again in another.

    Args:
        tokens: ids.
        block_size: tokens in one example.
        batch_size: examples in one batch; a batch may straddle two rounds.
        seed: of the order.

    Yields:
        ((inputs, targets), window numbers), the former both int64 (batch_size, block_size).
    """
    check_batch_size(batch_size)
    rng = np.random.default_rng(seed)
    windows = (len(tokens) - 1) // block_size
    order = np.empty(0, dtype=np.int64)
    while True:
        while len(order) < batch_size:
            order = np.concatenate([order, rng.permutation(windows)])
        ids, order = order[:batch_size], order[batch_size:]
        cut = np.stack([tokens[i * block_size : (i + 1) * block_size + 1] for i in ids]).astype(np.int64)
        batch = torch.from_numpy(cut[:, :-1].copy()), torch.from_numpy(cut[:, 1:].copy())
        yield Drawn(batch, ids)


def check_batch_size(batch_size: int) -> None:
    """Refuse batches of no examples.

    Raises:
        UserError: below one (exit 2).
    """
    if batch_size < 1:
        raise UserError(f"expected at least 1 example per batch, got {batch_size}; try 8")


def check_vocabulary(tokens: Integer[np.ndarray, " tokens"], *, vocab_size: int, source: str) -> None:
    """Look at every token, a chunk at a time, for ids the model has no row for.

    Raises:
        UserError: names the first such token, its place, and how many there are (exit 3).
    """
    past, first = 0, -1
    for start in range(0, len(tokens), _CHUNK):
        chunk = np.asarray(tokens[start : start + _CHUNK])
        wrong = (chunk >= vocab_size) | (chunk < 0)
        if first < 0 and wrong.any():
            first = start + int(np.argmax(wrong))
        past += int(np.count_nonzero(wrong))
    if past:
        raise unreadable(
            f"expected tokens below the vocabulary of {vocab_size:,}, got token {int(tokens[first]):,} at "
            f"position {first:,} of {source} ({past:,} of {len(tokens):,} tokens are past it); "
            "try data made with this checkpoint's own tokenizer"
        )
