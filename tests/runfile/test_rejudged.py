"""A run is judged again on a machine without torch, with the same numbers."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnoise.collect import collect_run, run_info, trainable_parameters
from gnoise.records import EvidenceRole
from gnoise.runfile import open_run
from gnoise.runfile.analyze import analyze
from tests.collect.workloads import planted_workload

SHAPES = [(12, 16), (12, 16), (150,)]
WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("no torch on this machine")
sys.meta_path.insert(0, NoTorch())
from gnoise.cli import main
sys.argv = ["gnoise", "analyze", sys.argv[1], "--remedies", sys.argv[2], "--quiet"]
main()
"""


def _gains(path: Path) -> dict[tuple[str | None, str, str, str], list[float | None]]:
    """Numbers of every row but the best, which is chosen among what was judged."""
    with open_run(path) as run:
        return {
            (each.layer, each.remedy, each.setting, each.role): [
                each.gain, each.low, each.high, each.bias_floor, each.batch, each.p_value, each.q_value,
            ]
            for each in run.evidence
            if each.role is not EvidenceRole.BEST
        }  # fmt: skip


def _collected(path: Path) -> None:
    means = [0.3 * np.random.default_rng(place).standard_normal(shape) for place, shape in enumerate(SHAPES)]

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [mean + rng.standard_normal((examples, *mean.shape)) for mean in means]

    workload = planted_workload(draw, *SHAPES)
    parameters = trainable_parameters(workload.module)
    info = run_info(workload, parameters, source="planted", draws=64, examples_per_draw=8, seed=0, command="test")
    collect_run(workload, parameters, path, info=info)


def test_without_torch_the_same_numbers_come_out(tmp_path: Path) -> None:
    here, there = tmp_path / "here.gnoise", tmp_path / "there.gnoise"
    _collected(here)
    shutil.copy(here, there)
    analyze(here)
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(there), "shrink,clip_norm,layerwise_lr"], check=True)
    every, some = _gains(here), _gains(there)
    assert {remedy for _, remedy, _, _ in some} == {"shrink", "clip_norm", "layerwise_lr", "batch"}
    for row, numbers in some.items():
        assert numbers == [None if x is None else pytest.approx(x, rel=1e-9) for x in every[row]], row
