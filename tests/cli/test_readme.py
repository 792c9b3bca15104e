"""The README's own commands, on the shipped checkpoints."""

import re
import shlex
from pathlib import Path

import pytest

from gnoise.charts.summary import summary
from gnoise.runfile import open_run
from tests.cli.conftest import Run
from tests.cli.test_output import printed

ROOT = Path(__file__).resolve().parents[2]
TOUR = (ROOT / "README.md").read_text("utf-8").partition("## Five minutes")[2].partition("\n## ")[0]
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in re.findall(r"```sh\n(.*?)```", TOUR, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("gnoise ")
]


@pytest.mark.slow
def test_the_tour_works_as_written(gnoise: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOISE_DRAWS", "16")  # the same road with fewer steps
    monkeypatch.setenv("GNOISE_BATCH_SIZE", "2")
    (tmp_path / "sample_checkpoints").symlink_to(ROOT / "sample_checkpoints")
    assert {command[0] for command in COMMANDS} == {
        "inspect",
        "profile",
        "show",
        "app",
        "export",
        "report",
        "compare",
        "analyze",
    }
    for command in COMMANDS:
        if command[0] != "app":  # serving is tested with the app
            result = gnoise(*command)
            assert result.code == 0, result.err
            assert result.out or "Wrote" in result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "sample", ["gpt-docs", "gpt-docs/early", "gpt-docs/middle", "llama-docs", "gpt-junk", "digits-cnn"]
)
def test_every_sample_is_profiled_without_a_flag(gnoise: Run, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOISE_DRAWS", "16")
    monkeypatch.setenv("GNOISE_BATCH_SIZE", "2")
    result = gnoise("profile", ROOT / "sample_checkpoints" / sample, "-o", "run.gnoise")
    assert result.code == 0, result.err
    assert result.out.startswith("Verdict")
    with open_run("run.gnoise") as run:
        said = summary(run.info, run.estimates, run.verdicts, run.recommendations, run.evidence, run="run.gnoise")
    assert len(printed(said, width=80)) < 20
