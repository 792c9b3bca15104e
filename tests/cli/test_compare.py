"""``gnoise compare`` as a shell would see it."""

import json
from pathlib import Path

from tests.cli.conftest import Run, write_checkpoint


def test_a_run_beside_itself_and_beside_another(gnoise: Run, checkpoint: Path, tmp_path: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "a.gnoise", "-q").code == 0
    same = gnoise("compare", "a.gnoise", "a.gnoise")
    assert same.code == 0
    assert "Nothing surely changed" in same.out
    assert "same draws" in same.out
    other = write_checkpoint(tmp_path / "other")
    assert gnoise("profile", other, "-o", "b.gnoise", "-q", "--seed", 5).code == 0
    document = json.loads(gnoise("compare", "a.gnoise", "b.gnoise", "--json").out)
    changes = document["pairs"][0]["changes"]
    assert {"layer", "quantity", "change", "low", "high", "paired", "q_value", "status"} <= changes[0].keys()
    assert not any(each["paired"] for each in changes)


def test_one_run_is_not_enough(gnoise: Run, checkpoint: Path) -> None:
    result = gnoise("compare", "a.gnoise")
    assert result.code == 2
    assert "OTHER.gnoise" in result.err
