"""Reading weight files without executing anything in them.

Torch files are pickles, and a pickle is a program: they are read with ``weights_only=True``, always.
What such a program would have called is listed from its opcodes, which does not run it either.
"""

import contextlib
import hashlib
import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from gnoise.errors import UserError, unreadable, unsafe

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt")
SAFETENSORS_SUFFIX = ".safetensors"
NAMED_GLOBALS = 5

_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AssertionError,
    EOFError,
    IndexError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)


def is_safetensors(path: Path) -> bool:
    """Recognise a safetensors file: the length of a header, then JSON; by name where it is cut short."""
    return path.suffix == SAFETENSORS_SUFFIX or _opening(path)[8:10] == b'{"'


def is_torch(path: Path) -> bool:
    """Recognise a torch file: a zip archive or a pickle; by name where it is cut short."""
    if is_safetensors(path):  # first: the length of its header can look like the start of a pickle
        return False
    if path.suffix in TORCH_SUFFIXES:
        return True
    opening = _opening(path)
    return opening[:4] == b"PK\x03\x04" or (opening[:1] == b"\x80" and opening[1:2] in b"\x02\x03\x04\x05")


def read_torch(path: Path) -> object:
    """Read what ``torch.save`` wrote, provided that it holds nothing but tensors and plain values.

    Tensors of zip files stay on disk until they are looked at.

    Raises:
        UserError: unsafe content (exit 4), or no readable torch file (exit 3).
    """
    in_zip = zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)
    except pickle.UnpicklingError as error:
        blocked = unsafe_globals(path)
        if not blocked:
            raise _broken(path, error) from error
        names = ", ".join(blocked[:NAMED_GLOBALS])
        more = f" and {len(blocked) - NAMED_GLOBALS} more" if len(blocked) > NAMED_GLOBALS else ""
        raise unsafe(
            f"expected a checkpoint of tensors and plain values, got {path} which would call {names}{more} "
            "when loaded (nothing was run); try torch.save(model.state_dict(), …) where it was trained, "
            "or safetensors"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise _broken(path, error) from error


def unsafe_globals(path: Path) -> list[str]:
    """List the names a torch file would import beyond those torch allows, without loading it."""
    if zipfile.is_zipfile(path):
        with contextlib.suppress(*_DAMAGE):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    # Older files, newer opcodes, or damage: read as far as it goes.
    names = {name for stream in _pickles(path) for name in _globals_of_pickles(stream)}
    return sorted(name for name in names if not name.startswith(("torch.", "collections.OrderedDict")))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file.

    Raises:
        UserError: truncated or not such a file (exit 3).
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from error


def read_safetensors_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read name, dtype and shape of every tensor of a safetensors file, and none of its values.

    Raises:
        UserError: truncated or not such a file (exit 3).
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from error


def sha256(paths: Sequence[Path]) -> str:
    """Hash the bytes of files in sorted order of their names.

    Returns:
        Lower-case hexadecimal digest of all bytes, one file after the other.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _opening(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(16)


def _pickles(path: Path) -> Iterator[BinaryIO]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file
        return
    with contextlib.suppress(*_DAMAGE), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                yield io.BytesIO(archive.read(name))


def _globals_of_pickles(file: BinaryIO) -> Iterator[str]:
    texts: list[str] = []
    # The file ends, or its pickles do and raw tensors follow, whose bytes may pass for any opcode.
    with contextlib.suppress(ValueError, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL":  # takes the last two texts: module and name
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts.append(argument)


def _broken(path: Path, error: Exception) -> UserError:
    size = path.stat().st_size if path.is_file() else 0
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = lines[0].rstrip(".") if lines else type(error).__name__
    return unreadable(
        f"expected a complete weight file, got {path} of {size:,} bytes which cannot be read "
        f"({type(error).__name__}: {why[:160]}); try copying it again, or an earlier checkpoint"
    )
