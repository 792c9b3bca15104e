"""Plain text, read through the checkpoint's own tokenizer."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gnoise.data.data import LoadedData, Wanted
from gnoise.data.windows import token_data
from gnoise.errors import UserError, unreadable

LOOKS_FOR: str = "a .txt or .md file (UTF-8 text)"

_SUFFIXES = (".txt", ".text", ".md")


def accepts(reference: str) -> bool:
    """Recognise a file by its name."""
    return reference.endswith(_SUFFIXES) and Path(reference).is_file()


def load(reference: str, *, wanted: Wanted) -> LoadedData:
    """Tokenize the whole file in memory, without special tokens.

    Raises:
        UserError: the tokenizers package is missing (exit 2); no tokenizer, not UTF-8, empty, too
            short, or past the vocabulary (exit 3).
    """
    path = Path(reference)
    tokenizer = wanted.tokenizer or _find_tokenizer(wanted.folder)
    if tokenizer is None:
        looked = "no folder to look in" if wanted.folder is None else f"none in {wanted.folder} or above it"
        raise unreadable(
            f"expected the checkpoint's tokenizer.json to read {path} with, got {looked}; "
            "try copying it beside the checkpoint, or --data with a .bin of tokens"
        )
    text = _read(path)
    ids = np.asarray(_encode(text, tokenizer), dtype=np.int64)
    return token_data(ids, wanted=wanted, source=str(path), kind="text")


def _find_tokenizer(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    places = (folder.resolve(), folder.resolve().parent)
    return next((place / "tokenizer.json" for place in places if (place / "tokenizer.json").is_file()), None)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(
            f"expected UTF-8 text in {path}, got byte {error.object[error.start]:#04x} at position "
            f"{error.start:,}; try converting it, e.g. iconv -t utf-8"
        ) from error
    if not text.strip():
        raise unreadable(f"expected text in {path}, got {path.stat().st_size:,} bytes of nothing; try another file")
    return text


def _encode(text: str, tokenizer: Path) -> list[int]:
    if find_spec("tokenizers") is None:
        raise UserError("expected the tokenizers package to read text with, got none; try pip install 'gnoise[hf]'")
    from tokenizers import Tokenizer

    try:
        reader = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # tokenizers raises nothing more specific
        raise unreadable(
            f"expected a tokenizer in {tokenizer}, got {str(error)[:160]}; try copying the file again"
        ) from error
    reader.no_truncation()
    reader.no_padding()
    return reader.encode(text, add_special_tokens=False).ids
