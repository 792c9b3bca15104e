"""``gnoise apply --show`` on exported recommendations."""

import json
from pathlib import Path

import pytest

from gnoise.errors import ExitCode
from tests.cli.conftest import Run

DOCUMENT = {
    "format": "gnoise.recommendations",
    "version": 1,
    "recommendations": [{"layer": "fc.weight", "remedy": "shrink", "params": {"form": "rational", "scale": 0.5}}],
}


@pytest.fixture
def recommendations(tmp_path: Path) -> Path:
    path = tmp_path / "recommendations.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return path


@pytest.mark.parametrize("loop", ["torch", "trainer", "lightning"])
def test_code_goes_to_stdout(gnoise: Run, recommendations: Path, loop: str) -> None:
    result = gnoise("apply", "--show", recommendations, "--for", loop)
    assert result.code == 0
    assert "shrink('rational', [0.5])" in result.out
    compile(result.out, "printed", "exec")
    assert f"gnoise.apply('{recommendations}', model, optimizer)" in result.err


def test_without_show_it_says_where_remedies_act(gnoise: Run, recommendations: Path) -> None:
    result = gnoise("apply", recommendations)
    assert result.code == ExitCode.USAGE
    assert "try gnoise apply --show" in result.err


def test_a_newer_format_is_refused(gnoise: Run, recommendations: Path) -> None:
    recommendations.write_text(json.dumps({**DOCUMENT, "version": 2}), encoding="utf-8")
    result = gnoise("apply", "--show", recommendations)
    assert result.code == ExitCode.UNREADABLE
    assert "expected version 1" in result.err
