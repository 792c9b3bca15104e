"""What every benchmark shares: machine facts, a table, and its results on disk. Run alone it does nothing."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("gnoise", "torch", "numpy", "scipy", "transformers")

Cell = str | float | int | None


def machine() -> dict[str, Cell]:
    """Describe the machine without naming it."""
    cores = len(os.sched_getaffinity(0)) if platform.system() == "Linux" else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": cores, "system": platform.system(), "architecture": platform.machine()}


def versions() -> dict[str, str]:
    """List Python and the packages that numbers may depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Lay out rows under a heading, words to the left and numbers to the right.

    Args:
        columns: headings.
        rows: one cell a column; floats are rounded to three decimals, ``None`` is a dash.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    words = [all(row[i] is None or isinstance(row[i], str) for row in rows) for i in range(len(columns))]

    def line(texts: Sequence[str]) -> str:
        sides = zip(texts, widths, words, strict=True)
        return "  ".join(t.ljust(w) if word else t.rjust(w) for t, w, word in sides).rstrip()

    return "\n".join([line(columns), "  ".join("-" * width for width in widths), *map(line, cells)])


def publish(
    name: str,
    *,
    notes: Sequence[str],
    settings: Mapping[str, object],
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    details: Mapping[str, object] | None = None,
    save: bool = True,
) -> None:
    """Print a table and write it as ``results/NAME.txt`` and, with everything behind it, ``results/NAME.json``.

    Args:
        name: of the benchmark.
        notes: lines above the table which say how to read it.
        settings: what the benchmark was run with.
        columns: headings of the table.
        rows: its rows.
        details: results that have no room in the table.
        save: leave the results on disk; quick runs only print.
    """
    facts = machine()
    heading = f"{name}: {facts['cpu']}, {facts['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in settings.items())
    text = "\n".join([heading, *notes, "", table(columns, rows)])
    print(text)
    if not save:
        return
    document = {
        "benchmark": name,
        "machine": facts,
        "versions": versions(),
        "settings": dict(settings),
        "notes": list(notes),
        "table": [dict(zip(columns, row, strict=True)) for row in rows],
        **(details or {}),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"\nWrote benchmarks/results/{name}.json and .txt")


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
