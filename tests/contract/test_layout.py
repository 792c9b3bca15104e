"""The house has its rooms, and nothing lies about."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import gnoise

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "app",
    "benchmarks",
    "constraints.txt",
    "docs",
    "gnoise",
    "pyproject.toml",
    "sample_checkpoints",
    "tests",
}
GENERATED = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "runs",
}
LONGEST = 450


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


PRODUCT = _sources("gnoise", "app", "benchmarks", "sample_checkpoints")
ROOMS = sorted(x.name for x in pkgutil.iter_modules(gnoise.__path__, "gnoise.") if x.ispkg)


def test_top_level_holds_what_it_should() -> None:
    assert {path.name for path in ROOT.iterdir()} - GENERATED == SHIPPED


def test_the_package_is_typed() -> None:
    assert (ROOT / "gnoise" / "py.typed").is_file()


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", [*PRODUCT, *_sources("tests")], ids=_name)
def test_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    assert path.name not in {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}


@pytest.mark.parametrize("room", ["gnoise", *ROOMS])
def test_everything_a_room_offers_is_there(room: str) -> None:
    module = importlib.import_module(room)
    offered: list[str] = vars(module).get("__all__", [])
    assert len(set(offered)) == len(offered)
    for name in offered:
        assert getattr(module, name) is not None
