"""References ``module:function``, as the models and data rooms resolve them."""

import sys
from pathlib import Path

import pytest

from gnoise import references
from gnoise.errors import ExitCode
from tests.models.makers import refused


def test_folders_with_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text("from neighbour import WHERE\ndef where(): return WHERE\n")
        (tmp_path / name / "neighbour.py").write_text(f"WHERE = {name!r}\n")
    found = [
        references.load_reference("same:where", folder=tmp_path / name, option="--data")() for name in ("a", "b", "a")
    ]
    assert found == ["a", "b", "a"]
    assert not {"same", "neighbour"} & set(sys.modules)


def test_one_module_for_all_of_its_functions(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(
        "class Net: ...\ndef make(): return Net()\ndef known(x): return isinstance(x, Net)\n"
    )
    make, known = (
        references.load_reference(f"shared:{name}", folder=tmp_path, option="--x") for name in ("make", "known")
    )
    assert known(make())
    assert references.load_reference("shared:known", folder=tmp_path, option="--x") is known


def test_edited_module_is_read_again(tmp_path: Path) -> None:
    for answer in (1, 22):
        (tmp_path / "edited.py").write_text(f"def answer(): return {answer}\n")
        assert references.load_reference("edited:answer", folder=tmp_path, option="--x")() == answer


def test_current_directory_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in_the_current_folder.py").write_text("def here(): return 1\n")
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    try:
        assert references.load_reference("in_the_current_folder:here", folder=other, option="--x")() == 1
    finally:
        sys.modules.pop("in_the_current_folder", None)
    assert references.load_reference("json:dumps", folder=None, option="--x")(1) == "1"
    assert references.load_reference("os.path:basename", folder=tmp_path, option="--x")("a/b") == "b"


@pytest.mark.parametrize("reference", ["no_colon", ":make", "mod:", "a:b:c", "folder/mod:make", "C:\\data.bin"])
def test_no_reference(tmp_path: Path, reference: str) -> None:
    assert not references.is_reference(reference)
    with refused(ExitCode.USAGE, "--factory", "module:function"):
        references.load_reference(reference, folder=tmp_path, option="--factory")


@pytest.mark.parametrize("source", ["def f(:\n", "raise SystemExit(3)\n", "1 / 0\n"])
def test_module_that_fails(tmp_path: Path, source: str) -> None:
    (tmp_path / "failing.py").write_text(source)
    before = list(sys.path)
    with refused(ExitCode.USAGE, "import failing"):
        references.load_reference("failing:f", folder=tmp_path, option="--factory")
    assert sys.path == before


def test_missing_names_nearest(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("from json import dumps\ndef make_model(): ...\ndef other(): ...\n")
    with refused(ExitCode.USAGE, "try --factory near:make_model", "make_model, other"):
        references.load_reference("near:make_modle", folder=tmp_path, option="--factory")
