"""Text behind embedding and head rows."""

from importlib.util import find_spec
from pathlib import Path

from gnoise.errors import unreadable

_UNDECODED = "\N{REPLACEMENT CHARACTER}"


def find_tokenizer(folder: Path) -> Path | None:
    """Look for ``tokenizer.json`` in a checkpoint's folder, then in the folder above."""
    places = (folder.resolve(), folder.resolve().parent)
    return next((place / "tokenizer.json" for place in places if (place / "tokenizer.json").is_file()), None)


def token_labels(tokenizer: Path | None, vocab_size: int) -> tuple[str, ...]:
    """Write every token the way it reads in text.

    Args:
        tokenizer: a ``tokenizer.json``.
        vocab_size: rows to label; those past the tokenizer's own are padding and say so.

    Returns:
        One label a row; none at all without a tokenizer, or without the package that reads it.

    Raises:
        UserError: the file is no tokenizer (exit 3).
    """
    if tokenizer is None or find_spec("tokenizers") is None:
        return ()
    from tokenizers import Tokenizer

    try:
        reader = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # tokenizers raises nothing more specific
        raise unreadable(
            f"expected a tokenizer in {tokenizer}, got {str(error)[:160]}; try copying the file again, "
            "or profile without it"
        ) from error
    return tuple(_label(reader.id_to_token(row), reader.decode([row]), row) for row in range(vocab_size))


def _label(token: str | None, text: str, row: int) -> str:
    if token is None:
        return f"<unused {row}>"
    if token.startswith("▁"):  # a sentencepiece space, which decoding alone would drop
        return token.replace("▁", " ")
    return token if _UNDECODED in text or not text else text
