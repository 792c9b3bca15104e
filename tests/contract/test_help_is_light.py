"""Help answers at once: it imports nothing that takes long."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "triton", "scipy", "pandas", "plotly", "streamlit", "transformers", "pyarrow", "jsonschema"}

SCRIPT = """
import sys
from gnoise.cli import main
sys.argv = ["gnoise", "--help"]
try:
    main()
except SystemExit as end:
    print("exit code", end.code or 0)
print("imported", *sorted(set(%r) & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", SCRIPT % HEAVY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *help_text, imported = done.stdout.splitlines()
    assert any("profile" in line for line in help_text)
    assert imported == "imported"
