"""A run's findings, read once for each state of its file: reruns, pages and other readers share them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from gnoise.records import DrawSample, Estimate, NormSample, Recommendation, Verdict
from gnoise.runfile import Run, open_run

_FILES = 8


@dataclass(frozen=True)
class Findings:
    """What the last analysis found; nothing in it is ever changed."""

    estimates: tuple[Estimate, ...]
    verdicts: tuple[Verdict, ...]
    recommendations: tuple[Recommendation, ...]

    def of_layer(self, layer: str) -> "Findings":
        """Keep what is about one layer."""
        return Findings(
            tuple(each for each in self.estimates if each.layer == layer),
            tuple(each for each in self.verdicts if each.layer == layer),
            tuple(each for each in self.recommendations if each.layer == layer),
        )


def findings_of(run: Run) -> Findings:
    """Return an open run's findings, without reading them where its file has not changed.

    Args:
        run: open.
    """
    return _read(run.path, stamp(run.path))


def norms_of(run: Run) -> tuple[DrawSample, NormSample]:
    """Return what was drawn and the whole model's norms, added up over layers once for each state of the file.

    Args:
        run: open.
    """
    return _add_up(run.path, stamp(run.path))


def recommendations_file(path: Path) -> str:
    """Write a run's recommendations as JSON, once somebody asks for the file.

    Args:
        path: of the run file.
    """
    from gnoise.export import recommendations_document, to_json

    with open_run(path) as run:
        return to_json(recommendations_document(run))


def stamp(path: Path) -> tuple[tuple[int, int], ...]:
    """Tell one state of a run file from another: a run that grows does so in a log beside the file.

    Args:
        path: of the run file.
    """
    return tuple(_sizes_and_times(path, path.with_name(path.name + "-wal")))


def _sizes_and_times(*paths: Path) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            continue
        yield facts.st_size, facts.st_mtime_ns


@st.cache_resource(max_entries=_FILES, show_spinner=False)
def _add_up(path: Path, state: tuple[tuple[int, int], ...]) -> tuple[DrawSample, NormSample]:
    with open_run(path) as run:
        return run.draws, run.model_norms


@st.cache_resource(max_entries=_FILES, show_spinner=False)
def _read(path: Path, state: tuple[tuple[int, int], ...]) -> Findings:
    """Read a file in one state: the cache keeps an answer for each pair of arguments."""
    with open_run(path) as run:
        return Findings(run.estimates, run.verdicts, run.recommendations)
