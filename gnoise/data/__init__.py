"""A reference to data in, a stream of batches out; one file per format."""

import difflib
from pathlib import Path
from typing import Protocol

from gnoise.data import loader, text, tokens
from gnoise.data.data import Batch, Draw, Drawn, LoadedData, Wanted
from gnoise.errors import unreadable


class DataLoader(Protocol):
    """What a module of this room offers to be listed in :data:`LOADERS`."""

    LOOKS_FOR: str

    def accepts(self, reference: str) -> bool:
        """Recognise a reference: a path that exists, or something else."""
        ...

    def load(self, reference: str, *, wanted: Wanted) -> LoadedData:
        """Check it and make it drawable."""
        ...


LOADERS: tuple[DataLoader, ...] = (tokens, text, loader)
"""Tried in this order; the first that accepts a reference reads it."""


def load_data(
    ref: str,
    *,
    folder: Path | None = None,
    block_size: int | None = None,
    vocab_size: int | None = None,
    tokenizer: Path | None = None,
) -> LoadedData:
    """Load data, recognised by name and content.

    Args:
        ref: a path, relative to the current directory or else to ``folder``; or ``module:function``.
        folder: the checkpoint's.
        block_size: tokens in one example, for token data.
        vocab_size: token ids must lie below it.
        tokenizer: a ``tokenizer.json`` for text; without one it is looked for in ``folder`` and above it.

    Raises:
        UserError: not there, not recognised, or unfit for the model (exit 3); a wrong reference (exit 2).
    """
    wanted = Wanted(folder=folder, block_size=block_size, vocab_size=vocab_size, tokenizer=tokenizer)
    path = _existing(ref, folder)
    reference = ref if path is None else str(path)
    for candidate in LOADERS:
        if candidate.accepts(reference):
            return candidate.load(reference, wanted=wanted)
    formats = ", or ".join(candidate.LOOKS_FOR for candidate in LOADERS)
    raise unreadable(f"expected {formats}; got {_found(ref, path)}; try {_advice(ref, path, folder)}")


def _existing(ref: str, folder: Path | None) -> Path | None:
    places = [Path(ref).expanduser()] if folder is None else [Path(ref).expanduser(), folder / ref]
    return next((place for place in places if place.exists()), None)


def _found(ref: str, path: Path | None) -> str:
    if path is None:
        return f"{ref!r}, where there is nothing"
    if path.is_dir():
        return f"the folder {path}"
    return f"{path}, a file of {path.stat().st_size:,} bytes with the ending {path.suffix or '(none)'}"


def _advice(ref: str, path: Path | None, folder: Path | None) -> str:
    if path is None and ":" in ref:
        stem, _, name = ref.partition(":")
        return f"--data {Path(stem).stem or 'module'}:{name or 'function'}"
    if path is not None and path.is_dir():
        likely = _readable(path)
    else:
        beside = _readable((path or Path(ref)).parent)
        close = difflib.get_close_matches(Path(ref).name, beside, n=1)
        likely = {close[0]: beside[close[0]]} if close else _readable(folder)
    return f"--data {next(iter(likely.values()), 'train.bin')}"


def _readable(folder: Path | None) -> dict[str, Path]:
    if folder is None or not folder.is_dir():
        return {}
    entries = sorted(folder.iterdir())
    return {entry.name: entry for entry in entries if any(one.accepts(str(entry)) for one in (tokens, text))}


__all__ = ["LOADERS", "Batch", "DataLoader", "Draw", "Drawn", "LoadedData", "Wanted", "load_data"]
