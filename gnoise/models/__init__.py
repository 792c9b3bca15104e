"""A reference to a checkpoint in, a module with its loss out; one file per format."""

import difflib
from pathlib import Path
from typing import Protocol

from gnoise.errors import UserError, unreadable
from gnoise.models import huggingface, nanogpt, state_dict
from gnoise.models.model import Batch, LoadedModel, Loss
from gnoise.models.report import ParameterReport, SourceReport
from gnoise.references import is_reference


class ModelLoader(Protocol):
    """What a module of this room offers to be listed in :data:`LOADERS`."""

    LOOKS_FOR: str

    def accepts(self, path: Path) -> bool:
        """Recognise a path by its content."""
        ...

    def load(self, path: Path, *, factory: str | None, loss: str | None) -> LoadedModel:
        """Build the module and give it the weights."""
        ...

    def inspect(self, path: Path) -> SourceReport:
        """Say what is there, running nothing of it."""
        ...


LOADERS: tuple[ModelLoader, ...] = (nanogpt, huggingface, state_dict)
"""Tried in this order; the first that accepts a path reads it."""


def load_model(source: str | Path, *, factory: str | None = None, loss: str | None = None) -> LoadedModel:
    """Load a checkpoint, recognised by its content.

    Nothing stored in the checkpoint is executed; ``factory`` and ``loss`` are code that the caller names.

    Args:
        source: path of a file or folder.
        factory: ``module:function`` that builds the module, looked for beside the checkpoint first.
        loss: ``module:function`` of (module, batch) that returns the mean loss.

    Raises:
        UserError: not there, not recognised, truncated, unfit, or non-finite (exit 3); unsafe (exit 4);
            a wrong factory or loss (exit 2).
    """
    path = _existing(source)
    return _recognise(path).load(path, factory=factory, loss=loss)


def inspect_source(source: str | Path) -> SourceReport:
    """Say what a source is and what it holds, without running any code from it.

    Args:
        source: path of a file or folder.

    Raises:
        UserError: not there, not recognised, or truncated (exit 3); unsafe (exit 4).
    """
    path = _existing(source)
    return _recognise(path).inspect(path)


def _existing(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.exists():
        return path
    if is_reference(str(source)):
        raise UserError(f"expected a checkpoint, got the function {source}; try CHECKPOINT --factory {source}")
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    likely = str(path.parent / close[0]) if close else "a path on this machine (gnoise downloads nothing)"
    raise unreadable(f"expected a checkpoint at {path}, got nothing there; try {likely}")


def _recognise(path: Path) -> ModelLoader:
    for loader in LOADERS:
        if loader.accepts(path):
            return loader
    formats = ", or ".join(loader.LOOKS_FOR for loader in LOADERS)
    raise unreadable(f"expected {formats}; got {_found(path)}; try {_advice(path)}")


def _found(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            return f"{path}, a file of {path.stat().st_size:,} bytes that begins with {file.read(8)!r}"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"the folder {path} with {', '.join(names[:5]) or 'nothing in it'}{more}"


def _advice(path: Path) -> str:
    if path.is_dir() and (path / ".metadata").is_file():
        return f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} model.pt, then that"
    if path.is_dir() and any(path.glob("pytorch_model*.bin")):
        return "model.save_pretrained(folder), which writes safetensors"
    folders = (entry for entry in sorted(path.iterdir()) if entry.is_dir()) if path.is_dir() else ()
    inside = next((entry for entry in folders if _accepted(entry)), None)
    return str(inside) if inside else "the file or folder that training wrote"


def _accepted(path: Path) -> bool:
    try:
        return any(loader.accepts(path) for loader in LOADERS)
    except UserError:
        return False


__all__ = [
    "LOADERS",
    "Batch",
    "LoadedModel",
    "Loss",
    "ModelLoader",
    "ParameterReport",
    "SourceReport",
    "inspect_source",
    "load_model",
]
