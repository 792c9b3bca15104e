"""nanoGPT's ``.bin``: token ids as little-endian uint16, and nothing else."""

from pathlib import Path

import numpy as np

from gnoise.data.data import LoadedData, Wanted
from gnoise.data.windows import token_data
from gnoise.errors import unreadable

LOOKS_FOR: str = "a .bin file of uint16 tokens (nanoGPT)"


def accepts(reference: str) -> bool:
    """Recognise a file by its name: its content has no mark."""
    return reference.endswith(".bin") and Path(reference).is_file()


def load(reference: str, *, wanted: Wanted) -> LoadedData:
    """Map the file into memory and check every token.

    Raises:
        UserError: empty, an odd number of bytes, too short, or past the vocabulary (exit 3).
    """
    path = Path(reference)
    size = path.stat().st_size
    if size == 0:
        raise unreadable(f"expected two bytes a token, got the empty file {path}; try preparing the data again")
    if size % 2:
        raise unreadable(
            f"expected an even number of bytes (two a token), got {size:,} in {path}; "
            "try preparing the data again: this copy is cut short, or no uint16 tokens"
        )
    tokens = np.memmap(path, dtype="<u2", mode="r")
    return token_data(tokens, wanted=wanted, source=str(path), kind="nanoGPT tokens")
