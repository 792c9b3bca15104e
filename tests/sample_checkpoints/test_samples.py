"""The sample checkpoints: they load safely, they learned, and their data is as described."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.models.gpt import GPT, GPTConfig

SAMPLES = Path(__file__).resolve().parents[2] / "sample_checkpoints"
CHECKPOINTS = ["gpt-docs/early/ckpt.pt", "gpt-docs/middle/ckpt.pt", "gpt-docs/ckpt.pt", "gpt-junk/ckpt.pt"]
LARGEST_FILE = 6 * 2**20
LARGEST_TOTAL = 30_000_000
WINDOW = 128
MUCH_BETTER = 2.0  # nats per token under the unigram entropy


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shipped_files() -> list[Path]:
    ignored = {"__pycache__", ".ruff_cache", ".pytest_cache"}
    files = [path for path in SAMPLES.rglob("*") if path.is_file() and not ignored.intersection(path.parts)]
    return [path for path in files if path.suffix != ".gnoise"]


def load_module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"samples_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_checkpoint(name: str) -> dict[str, Any]:
    return torch.load(SAMPLES / name, map_location="cpu", weights_only=True)


def load_gpt(name: str) -> GPT:
    checkpoint = load_checkpoint(name)
    model = GPT(GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict(checkpoint["model"])
    return model.eval()


def read_tokens(name: str) -> np.ndarray:
    return np.fromfile(SAMPLES / name, dtype="<u2")


def windows(name: str, limit: int) -> tuple[Tensor, Tensor]:
    stream = torch.from_numpy(read_tokens(name).astype(np.int64))[: limit * WINDOW + 1]
    return stream[:-1].view(-1, WINDOW), stream[1:].view(-1, WINDOW)


def unigram_entropy(name: str) -> float:
    frequency = np.bincount(read_tokens(name)) / read_tokens(name).size
    seen = frequency[frequency > 0]
    return float(-(seen * np.log(seen)).sum())


@torch.no_grad()
def loss_of(name: str, data: str) -> float:
    _, loss = load_gpt(name)(*windows(data, 48))
    assert loss is not None
    return loss.item()


def expected_shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """List the names and shapes of nanoGPT's model.py, written out independently of gpt.py."""
    c, v = config.n_embd, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (v, c),
        "transformer.wpe.weight": (config.block_size, c),
    }
    for i in range(config.n_layer):
        weights = {"ln_1": (c,), "attn.c_attn": (3 * c, c), "attn.c_proj": (c, c)}
        weights |= {"ln_2": (c,), "mlp.c_fc": (4 * c, c), "mlp.c_proj": (c, 4 * c)}
        for part, shape in weights.items():
            shapes[f"transformer.h.{i}.{part}.weight"] = shape
            if config.bias:
                shapes[f"transformer.h.{i}.{part}.bias"] = shape[:1]
    shapes["transformer.ln_f.weight"] = (c,)
    if config.bias:
        shapes["transformer.ln_f.bias"] = (c,)
    return shapes | {"lm_head.weight": (v, c)}


SMALL = GPTConfig(block_size=16, vocab_size=50, n_layer=2, n_head=2, n_embd=8)


@pytest.mark.parametrize("bias", [True, False])
def test_state_dict_has_nanogpts_names_and_shapes_in_its_order(bias: bool) -> None:
    config = GPTConfig(**(asdict(SMALL) | {"bias": bias}))
    found = {name: tuple(tensor.shape) for name, tensor in GPT(config).state_dict().items()}
    assert list(found.items()) == list(expected_shapes(config).items())


def test_untrained_loss_is_that_of_a_uniform_guess_and_the_head_is_tied() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL)
    tokens_BT = torch.randint(50, (64, 16))
    logits_BTV, loss = model(tokens_BT, torch.randint(50, (64, 16)))
    assert logits_BTV.shape == (64, 16, 50)
    assert loss is not None
    assert loss.item() == pytest.approx(np.log(50), abs=0.05)
    assert model.lm_head.weight is model.transformer["wte"].weight
    assert "lm_head.weight" not in dict(model.named_parameters())


def test_the_loss_is_the_mean_over_counted_targets() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL).double()
    tokens_BT, targets_BT = torch.randint(50, (3, 16)), torch.randint(50, (3, 16))
    targets_BT[:, 5:] = -1
    logits_BTV, loss = model(tokens_BT, targets_BT)
    logp_BTV = logits_BTV[:, :5].log_softmax(-1)
    by_hand = -logp_BTV.gather(-1, targets_BT[:, :5, None]).mean()
    torch.testing.assert_close(loss, by_hand)


def test_a_position_sees_only_its_past() -> None:
    torch.manual_seed(0)
    model = GPT(SMALL).eval()
    tokens_BT = torch.randint(50, (2, 16))
    changed_BT = tokens_BT.clone()
    changed_BT[:, 9] = (changed_BT[:, 9] + 1) % 50
    before_BTV, no_loss = model(tokens_BT)
    after_BTV, _ = model(changed_BT)
    assert no_loss is None
    torch.testing.assert_close(before_BTV[:, :9], after_BTV[:, :9])
    assert not torch.allclose(before_BTV[:, 9:], after_BTV[:, 9:])


def test_bad_shapes_are_refused_with_advice() -> None:
    with pytest.raises(UserError, match="at most 16 tokens"):
        GPT(SMALL)(torch.zeros(1, 17, dtype=torch.long))
    with pytest.raises(UserError, match="n_head to divide n_embd"):
        GPTConfig(n_embd=10, n_head=3)


def test_files_stay_within_their_limits() -> None:
    sizes = {path.relative_to(SAMPLES): path.stat().st_size for path in shipped_files()}
    assert max(sizes.values()) < LARGEST_FILE
    assert sum(sizes.values()) <= LARGEST_TOTAL


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_has_nanogpts_layout(name: str) -> None:
    checkpoint = load_checkpoint(name)
    assert set(checkpoint) == {"model", "optimizer", "model_args", "iter_num", "best_val_loss", "config"}
    config = GPTConfig(**checkpoint["model_args"])
    found = {key: tuple(tensor.shape) for key, tensor in checkpoint["model"].items()}
    assert found == expected_shapes(config)
    assert checkpoint["config"]["batch_size"] == 16
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["model"].values())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_optimizer_state_loads_into_nanogpts_two_groups(name: str) -> None:
    checkpoint = load_checkpoint(name)
    model = load_gpt(name)
    parameters = list(model.parameters())
    assert 0.95e6 < sum(parameter.numel() for parameter in parameters) < 1.05e6
    groups = [[p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2]]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups])
    optimizer.load_state_dict(checkpoint["optimizer"])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    for parameter in parameters:
        state = optimizer.state[parameter]
        assert state["step"] == checkpoint["iter_num"]
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape
        assert (state["exp_avg_sq"] >= 0).all()


def test_training_went_on_from_early_to_late_and_beats_the_unigram_model() -> None:
    early, middle, late = (loss_of(name, "gpt-docs/val.bin") for name in CHECKPOINTS[:3])
    assert early > middle > late
    assert late < unigram_entropy("gpt-docs/train.bin") - MUCH_BETTER
    assert late == pytest.approx(load_checkpoint("gpt-docs/ckpt.pt")["best_val_loss"], abs=0.3)


def test_gpt_junk_learned_too_and_its_junk_is_one_window_in_fifty() -> None:
    assert loss_of("gpt-junk/ckpt.pt", "gpt-docs/val.bin") < unigram_entropy("gpt-junk/train.bin") - 1.5
    listing = json.loads((SAMPLES / "gpt-junk" / "junk_windows.json").read_text())
    assert listing["window_tokens"] == WINDOW
    for split in ("train", "val"):
        clean = read_tokens(f"gpt-docs/{split}.bin").reshape(-1, WINDOW)
        dirty = read_tokens(f"gpt-junk/{split}.bin").reshape(-1, WINDOW)
        differing = np.flatnonzero((clean != dirty).any(axis=1))
        assert differing.tolist() == listing[split]
        assert len(differing) / len(clean) == pytest.approx(1 / 50, rel=0.05)


def test_planting_junk_again_gives_the_shipped_tokens() -> None:
    corpus = load_module(SAMPLES / "corpus.py")
    listing = json.loads((SAMPLES / "gpt-junk" / "junk_windows.json").read_text())
    rng = np.random.default_rng(corpus.SEED)
    for split in ("train", "val"):
        tokens, junk = corpus.plant_junk(read_tokens(f"gpt-docs/{split}.bin"), rng)
        assert np.array_equal(tokens, read_tokens(f"gpt-junk/{split}.bin"))
        assert junk == listing[split]


def test_the_script_finds_its_corpus_from_the_repository_root() -> None:
    script = Path("sample_checkpoints", "make_samples.py")
    help_text = subprocess.run(
        [sys.executable, script, "--help"], cwd=SAMPLES.parent, capture_output=True, text=True, check=True
    ).stdout
    assert "{corpus,gpt-docs,gpt-junk,llama-docs,digits-cnn}" in help_text


def test_junk_windows_have_loud_gradients() -> None:
    listing = json.loads((SAMPLES / "gpt-junk" / "junk_windows.json").read_text())
    inputs_BT, targets_BT = windows("gpt-junk/train.bin", 1024)
    model = load_gpt("gpt-junk/ckpt.pt")

    def norm(window: int) -> float:
        _, loss = model(inputs_BT[window : window + 1], targets_BT[window : window + 1])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        return float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())

    junk = [norm(window) for window in listing["train"] if window < len(inputs_BT)]
    clean = [norm(window) for window in range(32) if window not in listing["train"]]
    assert np.median(junk) > 2 * np.median(clean)
    assert np.quantile(junk, 0.25) > max(clean)


def test_tokens_are_in_the_vocabulary_of_the_tokenizer() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SAMPLES / "gpt-docs" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 2048
    for name in (
        "gpt-docs/train.bin",
        "gpt-docs/val.bin",
        "gpt-junk/train.bin",
        "gpt-junk/val.bin",
        "llama-docs/train.bin",
    ):
        assert read_tokens(name).max() < 2048
    text = "def f(x):\n    return 'é'"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_llama_folder_loads_offline_and_beats_the_unigram_model() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(SAMPLES / "llama-docs")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert len(tokenizer) == 2048
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    inputs_BT, targets_BT = windows("gpt-docs/val.bin", 32)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(input_ids=inputs_BT).logits.flatten(0, 1), targets_BT.flatten())
    assert loss.item() < unigram_entropy("gpt-docs/train.bin") - 1.5


@pytest.mark.parametrize("folder", ["gpt-docs", "gpt-junk", "llama-docs"])
def test_the_data_of_a_sample_lies_in_its_own_folder(folder: str) -> None:
    settings = tomllib.loads((SAMPLES / folder / "gnoise.toml").read_text())
    assert settings["data"] == "train.bin"
    assert (SAMPLES / folder / "train.bin").is_file()


def test_llama_ships_the_first_half_of_its_training_tokens() -> None:
    whole, shipped = read_tokens("gpt-docs/train.bin"), read_tokens("llama-docs/train.bin")
    assert shipped.size == 262_144 == whole.size // 2
    assert np.array_equal(shipped, whole[: shipped.size])


@pytest.fixture(scope="module")
def factory() -> ModuleType:
    return load_module(SAMPLES / "digits-cnn" / "factory.py")


def test_digits_network_recognises_the_test_images(factory: ModuleType) -> None:
    module = factory.make()
    module.load_state_dict(torch.load(SAMPLES / "digits-cnn" / "model.pt", weights_only=True))
    assert 20_000 <= sum(parameter.numel() for parameter in module.parameters()) <= 60_000
    images, labels = factory.examples("test")
    with torch.no_grad():
        assert (module(images).argmax(1) == labels).double().mean().item() > 0.93
        assert factory.loss(module, (images, labels)).item() < 0.4


def test_digits_batches_follow_the_seed_and_never_end(factory: ModuleType) -> None:
    make: Callable[[int, int], Iterator[tuple[Tensor, Tensor]]] = factory.batches
    one, same, other = make(700, 5), make(700, 5), make(700, 6)
    for _ in range(5):
        images, labels = next(one)
        assert images.shape == (700, 1, 8, 8)
        assert labels.shape == (700,)
        assert torch.equal(images, next(same)[0])
        assert not torch.equal(images, next(other)[0])
    with pytest.raises(ValueError, match="batch_size between 1 and 1500"):
        next(make(1501, 0))
