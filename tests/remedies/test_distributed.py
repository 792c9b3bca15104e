import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_stay_together(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("ddp_worker.py")), str(tmp_path / "rendezvous")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == [
        "bare: ranks agree: True, as bare: True",
        "neutral: ranks agree: True, as bare: True",
        "recommended: ranks agree: True, as bare: False",
    ], done.stderr
