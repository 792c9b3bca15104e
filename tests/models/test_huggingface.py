"""Hugging Face folders."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from gnoise.errors import ExitCode, UserError
from gnoise.models import huggingface, inspect_source, load_model
from tests.models.makers import refused, truncate, write_llama, write_tokenizer


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 16, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def _edit(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("tied", [False, True])
def test_loads_in_float32_with_the_same_loss(tmp_path: Path, tied: bool) -> None:
    own = write_llama(tmp_path, tie_word_embeddings=tied)
    model = load_model(tmp_path)
    inputs, targets = _batch()
    logits = own(input_ids=inputs).logits
    torch.testing.assert_close(
        model.loss(model.module, (inputs, targets)),
        functional.cross_entropy(logits.flatten(0, 1), targets.flatten()),
    )
    parameters = sum(p.numel() for p in own.parameters())
    assert model.description == f"Hugging Face folder, LlamaForCausalLM, {parameters} parameters"
    assert (model.example, model.block_size, model.vocab_size) == ("sequence", 8, 16)
    assert (model.row_labels, model.default_data, dict(model.optimizer)) == ((), None, {})


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    write_llama(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({name: t.bfloat16() for name, t in load_file(file).items()}, file, metadata={"format": "pt"})
    _edit(tmp_path, dtype="bfloat16")
    assert {p.dtype for p in load_model(tmp_path).module.parameters()} == {torch.float32}
    assert {p.dtype for p in inspect_source(tmp_path).parameters} == {"bfloat16"}


def test_dict_batches_use_the_models_own_loss(tmp_path: Path) -> None:
    write_llama(tmp_path)
    model = load_model(tmp_path)
    tokens = torch.cat([_batch()[0], _batch()[1][:, -1:]], dim=1)
    own = model.loss(model.module, {"input_ids": tokens, "labels": tokens})
    torch.testing.assert_close(own, model.loss(model.module, tokens))


def test_long_contexts_do_not_make_long_examples(tmp_path: Path) -> None:
    write_llama(tmp_path, max_position_embeddings=131_072)
    assert load_model(tmp_path).block_size == huggingface.LONGEST_EXAMPLE


def test_what_lies_beside_the_weights(tmp_path: Path) -> None:
    write_llama(tmp_path)
    write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "train.txt").write_text("abc")
    state = {
        "global_step": 40,
        "train_batch_size": 4,
        "log_history": [{"learning_rate": 2e-5}, {"eval_loss": 2.0}],
    }
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    model = load_model(tmp_path)
    assert model.row_labels[:2] == ("a", "b")
    assert len(model.row_labels) == 16
    assert model.default_data == str(tmp_path / "train.txt")
    assert model.optimizer == {"iteration": 40, "batch_size": 4, "lr": 2e-5}
    assert "iteration 40" in model.description


def test_inspect_needs_no_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_llama(tmp_path)
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    report = inspect_source(tmp_path)
    assert report.format == "Hugging Face folder"
    assert report.details["architecture"] == "LlamaForCausalLM"
    assert report.parameter_count == sum(p.numel() for p in own.parameters())
    assert report.size_bytes == (tmp_path / "model.safetensors").stat().st_size
    with refused(ExitCode.USAGE, "transformers package", "pip install 'gnoise[hf]'"):
        load_model(tmp_path)


def test_shards(tmp_path: Path) -> None:
    write_llama(tmp_path)
    whole = load_model(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(state)
    for number, part in enumerate((names[:3], names[3:])):
        save_file(
            {name: state[name] for name in part},
            tmp_path / f"model-{number}.safetensors",
            metadata={"format": "pt"},
        )
    shards = {name: f"model-{int(name not in names[:3])}.safetensors" for name in names}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    torch.testing.assert_close(load_model(tmp_path).module.state_dict(), whole.module.state_dict())
    (tmp_path / "model-1.safetensors").unlink()
    with refused(ExitCode.UNREADABLE, "model-1.safetensors", "1 missing"):
        load_model(tmp_path)


def test_truncated_weights(tmp_path: Path) -> None:
    write_llama(tmp_path)
    truncate(tmp_path / "model.safetensors")
    for read in (load_model, inspect_source):
        with refused(ExitCode.UNREADABLE, "model.safetensors"):
            read(tmp_path)


def test_names_and_shapes_that_do_not_fit(tmp_path: Path) -> None:
    write_llama(tmp_path)
    _edit(tmp_path, num_hidden_layers=2)
    with refused(ExitCode.UNREADABLE, "9 missing (model.layers.1."):
        load_model(tmp_path)
    _edit(tmp_path, num_hidden_layers=1, vocab_size=20)
    with refused(ExitCode.UNREADABLE, "(16, 8)", "(20, 8)"):
        load_model(tmp_path)


def test_nan_weights(tmp_path: Path) -> None:
    write_llama(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state["model.norm.weight"][3] = float("nan")
    save_file(state, file, metadata={"format": "pt"})
    with refused(ExitCode.UNREADABLE, "1 NaN", "model.norm.weight"):
        load_model(tmp_path)


def test_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    write_llama(tmp_path)
    proof = tmp_path / "ran"
    (tmp_path / "modeling.py").write_text(f"open({str(proof)!r}, 'w')\n")
    auto = {"AutoConfig": "modeling.C", "AutoModelForCausalLM": "modeling.M"}
    _edit(tmp_path, model_type="brand_new", auto_map=auto)
    with refused(ExitCode.UNSAFE, "auto_map", "nothing was run"):
        load_model(tmp_path)
    assert not proof.exists()


def test_other_architectures_and_broken_configurations(tmp_path: Path) -> None:
    write_llama(tmp_path)
    _edit(tmp_path, model_type="vit", architectures=["ViTModel"])
    with refused(ExitCode.UNREADABLE, "causal language model", "--factory"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with refused(ExitCode.UNREADABLE, "config.json"):
        load_model(tmp_path)


def test_offline_and_quiet_only_while_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    from huggingface_hub import constants

    write_llama(tmp_path)
    _edit(tmp_path, attn_implementation="somebody/attention-kernel")
    capfd.readouterr()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load_model(tmp_path)
    assert constants.HF_HUB_OFFLINE is False
    assert capfd.readouterr() == ("", "")


def test_a_configuration_far_larger_than_the_weights_is_refused_before_it_is_built(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    save_file({"model.norm.weight": torch.ones(4)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"expected 6\.\d+ B parameters.* got 4 parameters.*try the config\.json"
    ) as caught:
        load_model(tmp_path)
    assert caught.value.exit_code == 3
