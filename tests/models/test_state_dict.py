"""State dicts with a factory."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gnoise.errors import ExitCode
from gnoise.models import inspect_source, load_model
from tests.models.makers import refused, truncate, write_factory

BATCH = torch.ones(5, 3), torch.tensor([0, 1, 0, 1, 1])


def _expected(module: nn.Module) -> torch.Tensor:
    return nn.functional.cross_entropy(module(BATCH[0]), BATCH[1])


def test_factory_beside_the_checkpoint(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    for source in (file, tmp_path):
        model = load_model(source, factory="factory:make", loss="factory:loss")
        torch.testing.assert_close(model.loss(model.module, BATCH), _expected(model.module))
        assert model.description == "state dict with factory factory:make, 26 parameters"
        assert (model.example, model.block_size, model.vocab_size, dict(model.optimizer)) == (
            "row",
            None,
            None,
            {},
        )
        torch.testing.assert_close(model.module.state_dict(), torch.load(file, weights_only=True))


def test_factory_may_bring_its_loss(tmp_path: Path) -> None:
    model = load_model(write_factory(tmp_path), factory="factory:make_with_loss")
    torch.testing.assert_close(model.loss(model.module, BATCH), _expected(model.module))


def test_safetensors_in_shards(tmp_path: Path) -> None:
    state = torch.load(write_factory(tmp_path), weights_only=True)
    (tmp_path / "model.pt").unlink()
    save_file({key: value for key, value in state.items() if key[0] == "0"}, tmp_path / "a.safetensors")
    save_file({key: value for key, value in state.items() if key[0] != "0"}, tmp_path / "b.safetensors")
    module = load_model(tmp_path, factory="factory:make").module
    torch.testing.assert_close(dict(module.state_dict()), dict(state))
    report = inspect_source(tmp_path)
    assert (report.format, report.parameter_count, len(report.files)) == ("state dict", 26, 2)
    assert report.needs == "--factory module:function"
    assert {(p.name, p.shape, p.dtype) for p in report.parameters} >= {("0.weight", (4, 3), "float32")}


def test_header_that_looks_like_a_pickle(tmp_path: Path) -> None:
    # A header of 640 bytes: the file begins with 80 02, as a pickle of protocol 2 does.
    file = tmp_path / "weights.bin"
    padding = "x"
    while True:
        save_file({"w": torch.zeros(2)}, file, metadata={"pad": padding})
        if int.from_bytes(file.read_bytes()[:8], "little") >= 640:
            break
        padding += "x" * 8
    assert file.read_bytes()[:2] == b"\x80\x02"
    assert inspect_source(file).parameter_count == 2


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "net"])
def test_state_in_a_larger_checkpoint(tmp_path: Path, key: str) -> None:
    file = write_factory(tmp_path)
    state = {f"module.{name}": tensor for name, tensor in torch.load(file, weights_only=True).items()}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9).state_dict()
    torch.save({key: state, "optimizer_state_dict": optimizer, "global_step": torch.tensor(7)}, file)
    model = load_model(file, factory="factory:make")
    assert model.optimizer == {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "iteration": 7}
    assert inspect_source(file).optimizer == model.optimizer


@pytest.mark.parametrize(("decoupled", "name"), [(torch.optim.Adam, "Adam"), (torch.optim.AdamW, "AdamW")])
def test_optimizers_told_apart(tmp_path: Path, decoupled, name: str) -> None:
    file = write_factory(tmp_path)
    state = torch.load(file, weights_only=True)
    torch.save({"model": state, "optimizer": decoupled([torch.zeros(1)]).state_dict()}, file)
    assert inspect_source(file).optimizer["name"] == name


def test_inspect_needs_no_factory(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    assert [p.name for p in inspect_source(file).parameters] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_without_factory(tmp_path: Path) -> None:
    with refused(ExitCode.USAGE, "--factory module:function", "4 tensors"):
        load_model(write_factory(tmp_path))


@pytest.mark.parametrize(
    ("factory", "fragment"),
    [
        ("factory", "module:function"),
        ("factory.py:make", "factory:make"),
        ("nowhere_to_be_found:make", "nowhere_to_be_found"),
        ("factory:mke", "factory:make"),
        ("factory:NUMBER", "int"),
        ("factory:needs_argument", "TypeError"),
        ("factory:no_module", "str"),
    ],
)
def test_wrong_factories(tmp_path: Path, factory: str, fragment: str) -> None:
    with refused(ExitCode.USAGE, fragment):
        load_model(write_factory(tmp_path), factory=factory)


def test_wrong_losses(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    with refused(ExitCode.USAGE, "--loss", "factory:loss"):
        load_model(file, factory="factory:make", loss="factory:los")
    model = load_model(file, factory="factory:make", loss="factory:no_scalar")
    with refused(ExitCode.USAGE, "factory:no_scalar", "(5, 2)"):
        model.loss(model.module, BATCH)
    model = load_model(file, factory="factory:make")
    with refused(ExitCode.USAGE, "--loss", "Sequential"):
        model.loss(model.module, BATCH)
    with refused(ExitCode.USAGE, "--loss", "(5, 2)"):
        model.loss(model.module, BATCH[0])


def test_hidden_import_error_is_told(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    (tmp_path / "factory.py").write_text("import not_installed_anywhere\ndef make(): ...\n")
    with refused(ExitCode.USAGE, "not_installed_anywhere", "ModuleNotFoundError"):
        load_model(file, factory="factory:make")


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    torch.save({"0.weight": torch.zeros(4, 3), "other": torch.zeros(1)}, file)
    with refused(ExitCode.UNREADABLE, "3 missing (0.bias, 2.weight, 2.bias)", "1 unexpected (other)"):
        load_model(file, factory="factory:make")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    state = torch.load(file, weights_only=True) | {"2.bias": torch.zeros(9)}
    torch.save(state, file)
    with refused(ExitCode.UNREADABLE, "2.bias", "(9,)", "(2,)"):
        load_model(file, factory="factory:make")


def test_nan_in_safetensors(tmp_path: Path) -> None:
    state = torch.load(write_factory(tmp_path), weights_only=True) | {"2.bias": torch.full((2,), float("nan"))}
    save_file(state, tmp_path / "nan.safetensors")
    with refused(ExitCode.UNREADABLE, "2 NaN", "2.bias"):
        load_model(tmp_path / "nan.safetensors", factory="factory:make")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_truncated_safetensors(tmp_path: Path, share: float) -> None:
    save_file({"w": torch.zeros(100)}, tmp_path / "model.safetensors")
    file = truncate(tmp_path / "model.safetensors", share)
    with refused(ExitCode.UNREADABLE, "model.safetensors", f"{file.stat().st_size:,} bytes"):
        inspect_source(file)
    with refused(ExitCode.UNREADABLE, "model.safetensors"):
        load_model(file, factory="factory:make")


def test_file_without_a_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": [1.0]}, tmp_path / "log.pt")
    with refused(ExitCode.UNREADABLE, "epoch, loss"):
        inspect_source(tmp_path / "log.pt")
    torch.save([1, 2], tmp_path / "log.pt")
    with refused(ExitCode.UNREADABLE, "list"):
        inspect_source(tmp_path / "log.pt")


def test_folder_with_several_files(tmp_path: Path) -> None:
    file = write_factory(tmp_path)
    file.with_name("other.pt").write_bytes(file.read_bytes())
    with refused(ExitCode.UNREADABLE, "model.pt, other.pt", f"try {file}"):
        load_model(tmp_path, factory="factory:make")


def test_search_path_is_left_alone(tmp_path: Path) -> None:
    before = list(sys.path)
    load_model(write_factory(tmp_path), factory="factory:make")
    assert sys.path == before
