"""Runs on disk, made by hand: analyzed, not analyzed, cut off, and a file that is no run."""

import importlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from gnoise.records import CoordinateSample, DrawSample, LayerSamples, NormSample, RunState, SketchSample
from gnoise.runfile import RunWriter, write_findings
from tests.charts.records import ESTIMATES, INFO, LAYERS, RECOMMENDATIONS, sketches

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
BLOCKS, DRAWS, EXAMPLES, COORDS = 8, 8, 4, 12
_NUMBER = re.compile(r"(?<![\w.])([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?)(?![\d.])")


def _samples(rng: np.random.Generator, block: int) -> LayerSamples:
    noise = rng.standard_normal((1, 4_000))
    sq_norms = rng.random(DRAWS)
    is_second_half = block >= BLOCKS // 2
    return LayerSamples(
        norms=NormSample(
            rng.random((DRAWS, EXAMPLES)), sq_norms, rng.random(1), np.full((DRAWS, EXAMPLES), 1 / EXAMPLES)
        ),
        sketch=SketchSample(sketches(noise), sketches(noise) if is_second_half else (), 16),
        coordinates=CoordinateSample(
            np.arange(COORDS), rng.random((DRAWS, COORDS), dtype=np.float32), sq_norms, sq_norms
        ),
        matrix=None,
    )


def write_blocks(writer: RunWriter, blocks: Iterable[int]) -> None:
    """Append blocks of draws of six layers."""
    rng = np.random.default_rng(1)
    for block in blocks:
        draws = DrawSample(
            rng.integers(0, 99, (DRAWS, EXAMPLES)),
            rng.random((DRAWS, EXAMPLES)),
            np.full((DRAWS, EXAMPLES), 1 / EXAMPLES),
        )
        writer.write_block(draws, {layer.name: _samples(rng, block) for layer in LAYERS})


def write_run(path: Path, *, blocks: int = BLOCKS, state: RunState = RunState.COMPLETE) -> Path:
    """Write a run of six layers without findings."""
    with RunWriter(path, info=INFO, layers=LAYERS) as writer:
        write_blocks(writer, range(blocks))
        writer.finish(state)
    return path


def write_generated(path: Path, *, layers: int) -> Path:
    """Write a run with every quantity, question and remedy of every layer, its numbers made up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MAIN.parents[1] / "benchmarks"))
        return importlib.import_module("large_run").write_large_run(path, layers=layers, draws=64)


def _view(path: str, view: str) -> None:
    from importlib import import_module

    from gnoise.runfile import open_run

    with open_run(path) as run:
        import_module(f"app.views.{view}").render(run)


def open_view(path: Path, view: str, /, *, asked: str | None = None, **query: str) -> AppTest:
    """Draw one page of a run, in this process.

    Args:
        path: of the run.
        view: a module of the app's views.
        asked: key of the picture whose numbers are asked for.
        query: of the address.
    """
    test = AppTest.from_function(_view, kwargs={"path": str(path), "view": view}, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    if asked is not None:
        test.session_state[f"{asked}-numbers-asked"] = True
    test.run()
    assert not test.exception
    return test


def check(text: str, numbers: Sequence[float]) -> None:
    """Hold the numbers of a text, in their order, against what they were rounded from."""
    shown = _NUMBER.findall(text)
    assert len(shown) == len(numbers), text
    for word, number in zip(shown, numbers, strict=True):
        mantissa, _, exponent = word.replace(",", "").partition("e")
        last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(word.replace(",", "")) - number) <= 0.5000001 * last, text


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_run(tmp_path_factory.mktemp("runs") / "full.gnoise")
    write_findings(path, ESTIMATES, RECOMMENDATIONS)
    return path


@pytest.fixture(scope="session")
def bare_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "bare.gnoise")


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch):
    """Run the app on some files, in this process."""

    def run(*paths: Path, **query: str) -> AppTest:
        monkeypatch.setenv("GNOISE_APP_RUNS", json.dumps([str(path) for path in paths]))
        test = AppTest.from_file(MAIN, default_timeout=30)
        for name, value in query.items():
            test.query_params[name] = value
        return test.run()

    return run
