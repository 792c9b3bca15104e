"""A reference ``module:function`` in, the function out."""

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from gnoise.errors import UserError

_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?<!\.py):([A-Za-z_]\w*)")


def is_reference(text: str) -> bool:
    """Tell ``module:function`` from a path."""
    return _REFERENCE.fullmatch(text) is not None


def load_reference(reference: str, *, folder: Path | None, option: str) -> Callable[..., object]:
    """Import a function that the caller named: this runs the caller's own code.

    A file ``module.py`` in the folder comes first, then whatever Python can import from the folder, the
    current directory and its path. Such a file is executed once however many of its functions are asked for,
    and again after it was edited. Neither the search path nor the names of its neighbours outlive the import.

    Args:
        reference: ``module:function``.
        folder: where to look first, usually the checkpoint's own.
        option: what the reference was given for, e.g. ``--factory``.

    Raises:
        UserError: no such form, module or function, not callable, or the import fails (exit 2).
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        stem, _, name = reference.partition(":")
        likely = f"{Path(stem).stem or 'module'}:{name or 'function'}"
        raise UserError(f"expected {option} as module:function, got {reference!r}; try {option} {likely}")
    module_name, name = match.groups()
    module = _import(module_name, folder, option)
    try:
        function = getattr(module, name)
    except AttributeError as error:
        raise UserError(
            f"expected a function {name} in {_origin(module)}, got {_callables(module)}; "
            f"try {option} {module_name}:{_nearest(name, module)}"
        ) from error
    if not callable(function):
        raise UserError(
            f"expected {reference} to be a function, got {type(function).__name__}; "
            f"try {option} {module_name}:{_nearest(name, module)}"
        )
    return function


def _import(name: str, folder: Path | None, option: str) -> ModuleType:
    places = [Path.cwd()] if folder is None else [folder.resolve(), Path.cwd()]
    try:
        with _searching(places):
            file = places[0] / f"{name}.py"
            return _run_file(file) if file.is_file() else importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            looked = " and ".join(str(place) for place in dict.fromkeys(places))
            raise UserError(
                f"expected a module {name} for {option}, got none in {looked} or on Python's path; "
                f"try PYTHONPATH=folder-of-{name.partition('.')[0]} before the command"
            ) from error
        raise UserError(
            f"expected to import {name} for {option}, got {type(error).__name__}: {error}; "
            f'try python -c "import {name}" in its folder'
        ) from error


@contextlib.contextmanager
def _searching(places: list[Path]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = [str(place) for place in places]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _run_file(file: Path) -> ModuleType:
    # A name of its own: two checkpoints' factory.py are different modules, and an edited one is a new one.
    version = file.stat()
    key = hashlib.sha256(f"{file}|{version.st_mtime_ns}|{version.st_size}".encode()).hexdigest()[:16]
    name = f"_gnoise_{file.stem}_{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python source")
    known = set(sys.modules)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        for other in set(sys.modules) - known - {name}:
            origin = getattr(sys.modules[other], "__file__", None)
            if isinstance(origin, str) and Path(origin).parent == file.parent:
                del sys.modules[other]
    return module


def _origin(module: ModuleType) -> str:
    return str(module.__file__ or module.__name__)


def _public_callables(module: ModuleType) -> list[str]:
    members = vars(module).items()
    own = (name for name, value in members if callable(value) and value.__module__ == module.__name__)
    return [name for name in own if not name.startswith("_")]


def _callables(module: ModuleType) -> str:
    return ", ".join(_public_callables(module)[:5]) or "no functions"


def _nearest(name: str, module: ModuleType) -> str:
    names = _public_callables(module)
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.0)), "function")
