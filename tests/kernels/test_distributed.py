import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_each_process_has_its_own_norms_and_trains_as_bare(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("distributed_worker.py")), str(tmp_path / "rendezvous")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    both = "[(True, True), (True, True)]"
    assert done.stdout.splitlines() == [
        f"{way} patched {fused}: norms of own examples and weights as bare: {both}"
        for way in ("ddp", "fsdp2", "fsdp2 bf16")
        for fused in ("before", "after")
    ], done.stderr
