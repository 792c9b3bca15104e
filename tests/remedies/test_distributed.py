import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_stay_together_replicated_and_sharded(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("distributed_worker.py")), str(tmp_path / "rendezvous")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == [
        "adamw ddp bare: ranks agree: True, as bare: True",
        "adamw ddp neutral: ranks agree: True, as bare: True",
        "adamw ddp recommended: ranks agree: True, as bare: False",
        "adamw fsdp2 bare: ranks agree: True, as bare: True",
        "adamw fsdp2 neutral: ranks agree: True, as bare: True",
        "adamw fsdp2 recommended: ranks agree: True, as bare: False",
        "muon ddp bare: ranks agree: True, as bare: True",
        "muon ddp neutral: ranks agree: True, as bare: True",
        "muon ddp recommended: ranks agree: True, as bare: False",
        "muon fsdp2 bare: ranks agree: True, as bare: True",
        "muon fsdp2 neutral: ranks agree: True, as bare: True",
        "muon fsdp2 recommended: ranks agree: True, as bare: False",
        "shards unlike replicas: []",
        "sharded state resumes: True",
    ], done.stderr


@pytest.mark.slow
def test_layerwise_rates_replicated_and_sharded(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("layerwise_worker.py")), str(tmp_path / "rendezvous")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == [
        "ddp bare: ranks agree: True, as bare: True",
        "ddp neutral: ranks agree: True, as bare: True",
        "ddp adaptive: ranks agree: True, as bare: False",
        "ddp shrunk: ranks agree: True, as bare: False",
        "fsdp2 bare: ranks agree: True, as bare: True",
        "fsdp2 neutral: ranks agree: True, as bare: True",
        "fsdp2 adaptive: ranks agree: True, as bare: False",
        "fsdp2 shrunk: ranks agree: True, as bare: False",
        "multipliers of shards as of replicas: True",
        "expected a spectral matrix of at least one row a process, got shape (1, 6) over 2 processes; "
        "try param_groups_for(model, rest=[its name])",
    ], done.stderr
