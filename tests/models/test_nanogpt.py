"""nanoGPT checkpoints: what is read from them, and what is refused."""

import hashlib
from pathlib import Path

import pytest
import torch

from gnoise.errors import ExitCode
from gnoise.models import inspect_source, load_model
from gnoise.models.gpt import GPT
from tests.models.makers import gpt, nanogpt_checkpoint, refused, truncate, write_nanogpt, write_tokenizer


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 16, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def test_file_and_folder_load_alike(tmp_path: Path, batch) -> None:
    file = write_nanogpt(tmp_path)
    inputs, targets = batch
    expected = gpt()(inputs, targets)[1]
    for source in (file, str(tmp_path)):
        model = load_model(source)
        assert isinstance(model.module, GPT)
        torch.testing.assert_close(model.loss(model.module, batch), expected)
        assert model.description == "nanoGPT checkpoint, iteration 3000, 984 parameters"
        assert (model.example, model.block_size, model.vocab_size) == ("sequence", 8, 16)
        assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_one_tensor_of_sequences_is_shifted(tmp_path: Path, batch) -> None:
    model = load_model(write_nanogpt(tmp_path))
    whole = torch.cat([batch[0], batch[1][:, -1:]], dim=1)
    torch.testing.assert_close(model.loss(model.module, whole), model.loss(model.module, batch))


def test_loss_refuses_other_batches(tmp_path: Path) -> None:
    model = load_model(write_nanogpt(tmp_path))
    with refused(ExitCode.USAGE, "(inputs, targets)", "dict of input_ids"):
        model.loss(model.module, {"input_ids": torch.zeros(2, 8, dtype=torch.int64)})


def test_hyperparameters_come_from_optimizer_then_configuration(tmp_path: Path) -> None:
    optimizer = load_model(write_nanogpt(tmp_path)).optimizer
    assert optimizer == {
        "name": "AdamW",
        "lr": 3e-4,
        "betas": [0.9, 0.95],
        "eps": 1e-8,
        "weight_decay": pytest.approx(0.1),
        "batch_size": 12,
        "gradient_accumulation_steps": 5,
        "clip_global_norm": 1.0,
        "iteration": 3000,
    }


def test_no_clipping_is_no_threshold(tmp_path: Path) -> None:
    config = nanogpt_checkpoint()["config"] | {"grad_clip": 0.0}
    assert "clip_global_norm" not in load_model(write_nanogpt(tmp_path, config=config)).optimizer


def test_bare_checkpoint_has_no_hyperparameters(tmp_path: Path) -> None:
    checkpoint = nanogpt_checkpoint()
    torch.save({key: checkpoint[key] for key in ("model", "model_args")}, tmp_path / "ckpt.pt")
    model = load_model(tmp_path)
    assert model.optimizer == {}
    assert model.description == "nanoGPT checkpoint, 984 parameters"


def test_compiled_names_and_old_masks_and_half_precision(tmp_path: Path) -> None:
    state = {f"_orig_mod.{name}": tensor.bfloat16() for name, tensor in gpt().state_dict().items()}
    state["_orig_mod.transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    module = load_model(write_nanogpt(tmp_path, model=state)).module
    wanted = gpt().transformer["wte"].weight
    torch.testing.assert_close(module.transformer["wte"].weight, wanted, rtol=1e-2, atol=1e-3)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_bias_is_read_off_the_weights_of_old_checkpoints(tmp_path: Path) -> None:
    args = {key: value for key, value in nanogpt_checkpoint()["model_args"].items() if key not in ("bias", "dropout")}
    module = load_model(write_nanogpt(tmp_path, model=gpt(bias=True).state_dict(), model_args=args)).module
    assert module.transformer["ln_f"].bias is not None


def test_tied_head_may_be_there_once(tmp_path: Path) -> None:
    state = gpt().state_dict()
    del state["lm_head.weight"]
    module = load_model(write_nanogpt(tmp_path, model=state)).module
    assert module.lm_head.weight is module.transformer["wte"].weight


@pytest.mark.parametrize("place", [".", ".."])
def test_tokenizer_labels_rows(tmp_path: Path, place: str) -> None:
    file = write_nanogpt(tmp_path / "run")
    tokenizer = write_tokenizer(file.parent / place / "tokenizer.json")
    model = load_model(file)
    assert model.tokenizer is not None
    assert model.tokenizer.samefile(tokenizer)
    assert model.row_labels == (*"abcdefghijklm", " ", "<unused 14>", "<unused 15>")


def test_no_tokenizer_no_labels(tmp_path: Path) -> None:
    model = load_model(write_nanogpt(tmp_path / "deep" / "run"))
    assert (model.tokenizer, model.row_labels) == (None, ())


def test_broken_tokenizer_is_named(tmp_path: Path) -> None:
    write_nanogpt(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with refused(ExitCode.UNREADABLE, "tokenizer.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("place", ["out/train.bin", "train.bin", "data/toy/train.bin"])
def test_training_data_are_found(tmp_path: Path, place: str) -> None:
    file = write_nanogpt(tmp_path / "out")
    assert load_model(file).default_data is None
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"\0\0")
    found = load_model(file).default_data
    assert found is not None
    assert (tmp_path / place).samefile(found)


def test_inspect_lists_without_building(tmp_path: Path) -> None:
    file = write_nanogpt(tmp_path)
    report = inspect_source(tmp_path)
    assert report.format == "nanoGPT checkpoint"
    assert (report.files, report.size_bytes) == ((file,), file.stat().st_size)
    assert report.parameter_count == sum(p.numel() for p in gpt().parameters())
    head = next(p for p in report.parameters if p.name == "lm_head.weight")
    assert (head.shape, head.dtype, head.count, head.tied_to) == (
        (16, 8),
        "float32",
        128,
        "transformer.wte.weight",
    )
    assert report.details["n_layer"] == 1
    assert report.optimizer["lr"] == 3e-4
    assert report.needs == ""


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("read", [load_model, inspect_source])
def test_truncated_file(tmp_path: Path, share: float, read) -> None:
    file = truncate(write_nanogpt(tmp_path), share)
    with refused(ExitCode.UNREADABLE, "ckpt.pt", "bytes"):
        read(tmp_path)
    with refused(ExitCode.UNREADABLE, f"{file.stat().st_size:,} bytes"):
        read(file)


def test_missing_and_unexpected_names_are_counted_not_dumped(tmp_path: Path) -> None:
    state = {name.replace("mlp", "ffn").replace("ln_1", "norm"): t for name, t in gpt().state_dict().items()}
    with refused(ExitCode.UNREADABLE, "3 missing (transformer.h.0.ln_1.weight", "3 unexpected", "--factory"):
        load_model(write_nanogpt(tmp_path, model=state))


def test_many_wrong_names_show_three(tmp_path: Path) -> None:
    state = {f"net.{name}": tensor for name, tensor in gpt().state_dict().items()}
    count = len(state)
    with pytest.raises(Exception, match=f"{count} missing .*, …") as caught:
        load_model(write_nanogpt(tmp_path, model=state))
    assert str(caught.value).count("net.") == 3


def test_wrong_shapes_name_both(tmp_path: Path) -> None:
    args = nanogpt_checkpoint()["model_args"] | {"vocab_size": 20}
    with refused(ExitCode.UNREADABLE, "transformer.wte.weight", "(20, 8)", "(16, 8)", "1 more"):
        load_model(write_nanogpt(tmp_path, model_args=args))


def test_model_args_without_sizes(tmp_path: Path) -> None:
    with refused(ExitCode.UNREADABLE, "n_layer"):
        load_model(write_nanogpt(tmp_path, model_args={"block_size": 8, "n_layer": None}))


@pytest.mark.parametrize("change", [{"n_head": 3}, {"n_head": 0}, {"n_embd": -8}])
def test_model_args_that_make_no_model(tmp_path: Path, change: dict[str, int]) -> None:
    args = nanogpt_checkpoint()["model_args"] | change
    with refused(ExitCode.UNREADABLE, "n_head"):
        load_model(write_nanogpt(tmp_path, model_args=args))


def test_nan_weights_name_tensor_and_count(tmp_path: Path) -> None:
    state = gpt().state_dict()
    state["transformer.h.0.mlp.c_fc.weight"][0, :2] = float("nan")
    state["transformer.h.0.mlp.c_fc.weight"][1, 0] = float("inf")
    state["transformer.ln_f.weight"][0] = float("-inf")
    with refused(ExitCode.UNREADABLE, "2 NaN and 1 infinite", "transformer.h.0.mlp.c_fc.weight", "1 other"):
        load_model(write_nanogpt(tmp_path, model=state))


def test_edited_architecture_takes_a_factory(tmp_path: Path) -> None:
    write_nanogpt(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from gnoise.models.gpt import GPT, GPTConfig\ndef make(): return GPT(GPTConfig(8, 16, 1, 2, 8, 0.0, False))\n"
    )
    model = load_model(tmp_path, factory="mine:make")
    assert model.optimizer["iteration"] == 3000
    torch.testing.assert_close(model.module.lm_head.weight, gpt().lm_head.weight)
