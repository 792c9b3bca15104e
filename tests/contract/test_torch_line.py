"""What lies below the torch line works without torch, and so does what a first look imports."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
TORCH_LINE = next(contract for contract in CONTRACTS if contract["id"] == "torch-line")

HEAVY = {"torch", "triton", "scipy", "pandas", "plotly", "streamlit", "transformers", "pyarrow"}

# Imports a module and everything inside it, then names what must not have come along.
IMPORT_ALL = """
import importlib, pkgutil, sys
module = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
    importlib.import_module(found.name)
print(*sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


def _forbidden_after(module: str, *forbidden: str) -> str:
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALL, module, *forbidden]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", TORCH_LINE["source_modules"])
def test_room_below_the_line_imports_no_torch(room: str) -> None:
    assert _forbidden_after(room, *TORCH_LINE["forbidden_modules"]) == ""


def test_import_gnoise_is_light() -> None:
    command = [sys.executable, "-c", f"import gnoise, sys; print(*sorted({HEAVY!r} & set(sys.modules)))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
