"""What is no checkpoint, and what is an attack."""

import pickle
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

from gnoise.errors import ExitCode, UserError
from gnoise.models import LOADERS, inspect_source, load_model
from gnoise.models.files import unsafe_globals
from tests.models.makers import Hostile, refused, write_nanogpt

READERS = pytest.mark.parametrize("read", [load_model, inspect_source])


@READERS
def test_missing_path(tmp_path: Path, read) -> None:
    write_nanogpt(tmp_path)
    with refused(ExitCode.UNREADABLE, "nothing there", "downloads nothing"):
        read("gpt2")
    with refused(ExitCode.UNREADABLE, f"try {tmp_path / 'ckpt.pt'}"):
        read(tmp_path / "ckpt.pth")


@READERS
def test_reference_as_source(read) -> None:
    with refused(ExitCode.USAGE, "--factory train:make"):
        read("train:make")


@READERS
def test_folder_without_a_checkpoint(tmp_path: Path, read) -> None:
    with refused(ExitCode.UNREADABLE, "nothing in it", *(loader.LOOKS_FOR for loader in LOADERS)):
        read(tmp_path)
    (tmp_path / "notes.md").write_text("hello")
    with refused(ExitCode.UNREADABLE, "notes.md"):
        read(tmp_path)
    write_nanogpt(tmp_path / "out")
    with refused(ExitCode.UNREADABLE, "out/", f"try {tmp_path / 'out'}"):
        read(tmp_path)


@READERS
def test_folders_of_other_makers(tmp_path: Path, read) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with refused(ExitCode.UNREADABLE, "save_pretrained"):
        read(tmp_path)
    (tmp_path / ".metadata").write_bytes(b"")
    with refused(ExitCode.UNREADABLE, "dcp_to_torch"):
        read(tmp_path)


@READERS
@pytest.mark.parametrize("content", [b"", b"hello, world", b"\0" * 64])
def test_file_of_something_else(tmp_path: Path, read, content: bytes) -> None:
    (tmp_path / "file.dat").write_bytes(content)
    with refused(ExitCode.UNREADABLE, f"{len(content)} bytes"):
        read(tmp_path / "file.dat")


@READERS
@pytest.mark.parametrize("writer", ["zip", "zip4", "legacy", "pickle", "nested"])
@pytest.mark.parametrize("name", ["ckpt.pt", "weights"])
def test_hostile_pickle_is_named_and_not_run(tmp_path: Path, read, writer: str, name: str) -> None:
    proof, file = tmp_path / "ran", tmp_path / name
    content = {"model": Hostile(proof), "model_args": {}}
    if writer == "pickle":
        file.write_bytes(pickle.dumps(content))
    elif writer == "nested":
        torch.save({"model": {"w": torch.zeros(2)}, "model_args": {"n_layer": Hostile(proof)}}, file)
    elif writer == "zip4":
        torch.save(content, file, pickle_protocol=4)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=writer == "zip")
    with refused(ExitCode.UNSAFE, "posix.system", "nothing was run"):
        read(file)
    assert not proof.exists()


def test_every_blocked_name_is_counted(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.GELU(), nn.Flatten(), nn.LayerNorm(2))
    torch.save({"model": module, "args": Namespace(lr=1)}, tmp_path / "whole.pt")
    assert "argparse.Namespace" in unsafe_globals(tmp_path / "whole.pt")
    with refused(ExitCode.UNSAFE, "argparse.Namespace", "more", "state_dict()"):
        load_model(tmp_path / "whole.pt")


def test_damage_anywhere_is_one_user_error(tmp_path: Path) -> None:
    content = bytearray(write_nanogpt(tmp_path).read_bytes())
    generator = torch.Generator().manual_seed(0)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for place in torch.randint(0, 2500, (8,), generator=generator).tolist():
            damaged[place] ^= 0xFF
        (tmp_path / "ckpt.pt").write_bytes(damaged)
        try:
            load_model(tmp_path)
            outcomes.add("loaded")
        except UserError as error:
            outcomes.add(error.exit_code)
    assert outcomes <= {"loaded", ExitCode.UNREADABLE, ExitCode.UNSAFE}
    assert ExitCode.UNREADABLE in outcomes
