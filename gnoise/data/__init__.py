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
    parent = path if path is not None and path.is_dir() else (path or Path(ref)).parent
    places = [place for place in (parent, folder) if place is not None and place.is_dir()]
    files = [str(entry) for place in places for entry in sorted(place.iterdir()) if _readable(entry)]
    close = difflib.get_close_matches(ref, files, n=1, cutoff=0.0)
    return f"--data {close[0]}" if close else "--data train.bin"


def _readable(entry: Path) -> bool:
    return any(candidate.accepts(str(entry)) for candidate in (tokens, text))


__all__ = ["LOADERS", "Batch", "DataLoader", "Draw", "Drawn", "LoadedData", "Wanted", "load_data"]
