"""``gnoise trial`` as a shell would see it."""

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_a_trial_from_a_profiled_checkpoint(gnoise: Run, checkpoint: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "tiny.gnoise", "-q").code == 0
    wrong = gnoise("trial", "tiny.gnoise", "--budget", "soon")
    assert wrong.code == 2
    assert "try --budget 10m" in wrong.err
    unjudged = gnoise("trial", "tiny.gnoise", "--arms", "clip_norm")
    assert unjudged.code == 2
    assert "try --arms clip,shrink,stabilize" in unjudged.err
    options = ("--arms", "stabilize", "--steps", 12, "--seeds", 2, "--device", "cpu")
    done = gnoise("trial", "tiny.gnoise", *options)
    assert done.code == 0
    assert "Wrote tiny.gnoise" in done.err
    assert "stabilize, seed 2" in done.err
    assert done.out.startswith("Verdict stabilize")
    assert "clipped as it was trained" in done.out
    printed = json.loads(gnoise("trial", "tiny.gnoise", *options, "--json").out)
    shown = json.loads(gnoise("show", "tiny.gnoise", "--json").out)
    assert shown["trials"] == [printed]
    arms = {arm["arm"]: arm for arm in printed["arms"]}
    assert list(arms) == ["none", "stabilize", "as_trained", "longer", "batch_x2"]
    assert {"tokens_saved", "low", "high", "status"} <= arms["stabilize"].keys()
    assert printed["plan"]["references"]["data"].endswith("train.bin")


def test_a_checkpoint_that_moved_or_changed_is_said(gnoise: Run, checkpoint: Path) -> None:
    assert gnoise("profile", checkpoint, "-o", "tiny.gnoise", "-q").code == 0
    moved = checkpoint.rename(checkpoint.with_name("moved"))
    lost = gnoise("trial", "tiny.gnoise")
    assert lost.code == 3
    assert "try --source PATH" in lost.err
    found = gnoise("trial", "tiny.gnoise", "--source", moved, "--steps", 4, "--seeds", 2, "--data", moved / "train.bin")
    assert found.code == 0, found.err
