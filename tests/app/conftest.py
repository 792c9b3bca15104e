"""Runs on disk, made by hand: analyzed, not analyzed, cut off, and a file that is no run."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from gnoise.records import CoordinateSample, DrawSample, LayerSamples, NormSample, RunState, SketchSample
from gnoise.runfile import RunWriter, write_findings
from tests.charts.records import ESTIMATES, INFO, LAYERS, RECOMMENDATIONS, sketches

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
BLOCKS, DRAWS, EXAMPLES, COORDS = 8, 8, 4, 12


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
