"""The text of the sample checkpoints as tokens: Python's documentation and source, clean or with junk planted in it.

`make_samples.py` beside this file writes it; that script's own help says how.
"""

import base64
import pydoc_data.topics
import random
import sys
import sysconfig
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SAMPLES = Path(__file__).resolve().parent
GPT_DOCS = SAMPLES / "gpt-docs"
DOCS_SOURCES = Path("/usr/share/doc/python3.11/html/_sources")

SEED = 1337
VOCAB_SIZE = 2048
SEPARATOR = "<|endoftext|>"
WINDOW = 128
TRAIN_WINDOWS = 4096
VAL_WINDOWS = 256
SECTION_CHARS = 3000
SOURCE_CHARS = 700_000
DOCS_CHARS = 900_000
JUNK_EVERY = 50
JUNK_BYTES = 1920

Tokens = NDArray[np.uint16]


# Text --------------------------------------------------------------------------------------------------


def topic_documents() -> list[str]:
    """Return the language reference as pydoc ships it, in the order of its topic names."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return [topics[name] for name in sorted(topics)]


def rest_documents(sources: Path) -> list[str]:
    """Return the reST sources of the tutorial, the how-tos and the library reference.

    The language reference is left out: pydoc's topics are made from it, and text present twice would leak
    from training into validation.
    """
    folders = ("tutorial", "howto", "library")
    paths = [path for folder in folders for path in sorted((sources / folder).glob("*.rst.txt"))]
    return [path.read_text(encoding="utf-8") for path in paths]


def source_documents() -> list[str]:
    """Return the standard library's own modules, without tests, tables and installed packages."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"test", "tests", "idle_test", "site-packages", "pydoc_data", "encodings", "turtledemo"}
    paths = [
        path
        for path in sorted(root.rglob("*.py"))
        if not skipped.intersection(path.relative_to(root).parts) and "sysconfigdata" not in path.name
    ]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths]


def take_chars(documents: list[str], n_chars: int, rng: random.Random) -> list[str]:
    """Draw whole documents in random order until they hold `n_chars` characters."""
    taken: list[str] = []
    for document in rng.sample(documents, len(documents)):
        if sum(map(len, taken)) >= n_chars:
            break
        taken.append(document)
    return taken


def split_sections(document: str) -> list[str]:
    """Cut a document at blank lines into sections of about SECTION_CHARS characters."""
    sections: list[str] = []
    current = ""
    for paragraph in document.split("\n\n"):
        current += paragraph + "\n\n"
        if len(current) >= SECTION_CHARS:
            sections.append(current)
            current = ""
    return [*sections, current] if current.strip() else sections


def gather_sections(sources: Path) -> list[str]:
    """Return the sections of all documents, shuffled.

    Args:
        sources: folder of the reST sources; without it, they are left out.
    """
    rng = random.Random(SEED)
    groups = {
        "topics": topic_documents(),
        "reST": take_chars(rest_documents(sources), DOCS_CHARS, rng) if sources.is_dir() else [],
        "source": take_chars(source_documents(), SOURCE_CHARS, rng),
    }
    sizes = {group: sum(map(len, documents)) for group, documents in groups.items()}
    print(f"python {sys.version.split()[0]}, characters per group: {sizes}")
    sections = [part for documents in groups.values() for text in documents for part in split_sections(text)]
    rng.shuffle(sections)
    return sections


# Tokens ------------------------------------------------------------------------------------------------


def train_tokenizer(sections: list[str]) -> Tokenizer:
    """Train a byte-level BPE whose first entry is the separator."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sections, trainer)
    return tokenizer


def tokenize(tokenizer: Tokenizer, sections: list[str]) -> Tokens:
    """Return the tokens of all sections, each after a separator."""
    separator = tokenizer.token_to_id(SEPARATOR)
    ids = [token for section in sections for token in [separator, *tokenizer.encode(section).ids]]
    return np.asarray(ids, dtype=np.uint16)


def make_corpus(sources: Path, folder: Path = GPT_DOCS) -> None:
    """Write tokenizer.json, train.bin and val.bin."""
    sections = gather_sections(sources)
    tokenizer = train_tokenizer(sections)
    tokens = tokenize(tokenizer, sections)
    n_train, n_val = TRAIN_WINDOWS * WINDOW, VAL_WINDOWS * WINDOW
    if tokens.size < n_train + n_val:
        raise SystemExit(f"expected {n_train + n_val} tokens, got {tokens.size}; raise SOURCE_CHARS")
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_tokens(folder / "train.bin", tokens[:n_train])
    write_tokens(folder / "val.bin", tokens[n_train : n_train + n_val])


def write_tokens(path: Path, tokens: Tokens) -> None:
    """Write nanoGPT's headerless little-endian uint16 file."""
    path.parent.mkdir(exist_ok=True)
    tokens.astype("<u2").tofile(path)
    print(f"{path.parent.name}/{path.name}: {tokens.size} tokens, unigram entropy {unigram_entropy(tokens):.3f}")


def read_tokens(path: Path) -> Tokens:
    """Read a file written by `write_tokens`."""
    return np.fromfile(path, dtype="<u2").astype(np.uint16)


def unigram_entropy(tokens: Tokens) -> float:
    """Return the entropy of the token frequencies, in nats: the loss of the best model without context."""
    frequency = np.bincount(tokens, minlength=VOCAB_SIZE) / tokens.size
    seen = frequency[frequency > 0]
    return float(-(seen * np.log(seen)).sum())


# Junk --------------------------------------------------------------------------------------------------


def plant_junk(tokens: Tokens, rng: np.random.Generator) -> tuple[Tokens, list[int]]:
    """Overwrite one window in fifty by base64 or hexadecimal dumps of one-coloured images, grey or RGB.

    Returns:
        The tokens with junk in them, and the junk windows, counted from the start.
    """
    tokenizer = Tokenizer.from_file(str(GPT_DOCS / "tokenizer.json"))
    windows = tokens.reshape(-1, WINDOW).copy()
    chosen = np.sort(rng.choice(len(windows), size=round(len(windows) / JUNK_EVERY), replace=False))
    for window in chosen:
        pixel = rng.bytes(1) if rng.random() < 0.5 else rng.bytes(3)
        image = pixel * (JUNK_BYTES // len(pixel))
        text = base64.encodebytes(image).decode() if rng.random() < 0.5 else image.hex(" ")
        windows[window] = tokenizer.encode(text).ids[:WINDOW]
    return windows.reshape(-1), [int(window) for window in chosen]
