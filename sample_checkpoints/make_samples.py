"""Train the sample checkpoints of this folder from nothing but a Python installation and its documentation.

Run `corpus` first, then the four trainings in any order (side by side if there are cores):

    apt-get install python3.11-doc                     # reST sources, see --docs-sources
    python sample_checkpoints/make_samples.py --only corpus
    python sample_checkpoints/make_samples.py --only gpt-docs
    python sample_checkpoints/make_samples.py --only gpt-junk
    python sample_checkpoints/make_samples.py --only llama-docs
    python sample_checkpoints/make_samples.py --only digits-cnn

Without `--only` it does all five. Everything is seeded; the corpus depends on the Python version, which is
printed, and on the documentation package's. Needs torch, numpy, tokenizers, transformers and scikit-learn.
Shape suffixes: B batch, T time (tokens), N images.
"""

import argparse
import csv
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from corpus import (
    DOCS_SOURCES,
    GPT_DOCS,
    SAMPLES,
    SEED,
    SEPARATOR,
    VOCAB_SIZE,
    WINDOW,
    Tokens,
    make_corpus,
    plant_junk,
    read_tokens,
    write_tokens,
)
from torch import Tensor, nn

from gnoise.models.gpt import GPT, GPTConfig

STEPS = ("corpus", "gpt-docs", "gpt-junk", "llama-docs", "digits-cnn")
GPT_DOCS_MOMENTS = {200: "early", 800: "middle", 2000: "."}
GPT_JUNK_STEPS = 1200
LLAMA_STEPS = 1200

BATCH_SIZE = 16
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
GRAD_CLIP = 1.0

LossOf = Callable[[Tensor, Tensor], Tensor]


# Training ----------------------------------------------------------------------------------------------


def batches(tokens: Tokens, seed: int, size: int = BATCH_SIZE) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield sequences from random positions, with their next tokens as targets."""
    generator = torch.Generator().manual_seed(seed)
    stream = torch.from_numpy(tokens.astype(np.int64))
    offsets_T = torch.arange(WINDOW)
    while True:
        starts_B = torch.randint(len(stream) - WINDOW, (size,), generator=generator)
        index_BT = starts_B[:, None] + offsets_T
        yield stream[index_BT], stream[index_BT + 1]


@torch.no_grad()
def mean_loss(loss_of: LossOf, tokens: Tokens) -> float:
    """Return the mean loss over the aligned windows of a file, in nats per token."""
    stream = torch.from_numpy(tokens.astype(np.int64))
    n_windows = (len(stream) - 1) // WINDOW
    inputs = stream[: n_windows * WINDOW].view(n_windows, WINDOW)
    targets = stream[1 : n_windows * WINDOW + 1].view(n_windows, WINDOW)
    sums = [loss_of(x, y).item() * len(x) for x, y in zip(inputs.split(32), targets.split(32), strict=True)]
    return math.fsum(sums) / n_windows


def make_optimizer(module: nn.Module) -> torch.optim.AdamW:
    """Make AdamW with nanoGPT's two groups: matrices decay, vectors do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)


@dataclass
class LogRow:
    """One line of training_log.csv: losses in nats per token, in training the mean since the last line."""

    step: int
    train_loss: float
    val_loss: float


def train(
    module: nn.Module,
    loss_of: LossOf,
    data: Path,
    *,
    optimizer: torch.optim.AdamW,
    steps: range,
    log_every: int,
    log: Path,
    save: Callable[[LogRow], None],
) -> None:
    """Train on the train.bin of `data`, calling `save` at every log line; write the log as csv."""
    train_tokens, val_tokens = read_tokens(data / "train.bin"), read_tokens(data / "val.bin")
    stream = batches(train_tokens, SEED + steps.start - 1)
    rows: list[LogRow] = []
    recent: list[float] = []
    started = time.time()
    for done, step in enumerate(steps, start=1):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / WARMUP_STEPS)
        loss = loss_of(*next(stream))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), GRAD_CLIP)
        optimizer.step()
        recent.append(loss.item())
        if done % log_every == 0:
            train_loss, val_loss = math.fsum(recent) / len(recent), mean_loss(loss_of, val_tokens)
            rows.append(LogRow(step, round(train_loss, 4), round(val_loss, 4)))
            recent.clear()
            rate = done * BATCH_SIZE * WINDOW / (time.time() - started)
            print(log.parent.name, rows[-1], f"{rate:.0f} tokens/s", flush=True)
            save(rows[-1])
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train_loss", "val_loss"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def as_bfloat16(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round a state dict to bfloat16; tied tensors stay one tensor, which the file stores once."""
    rounded: dict[int, Tensor] = {}
    for tensor in tensors.values():
        rounded.setdefault(tensor.data_ptr(), tensor.detach().to(torch.bfloat16))
    return {name: rounded[tensor.data_ptr()] for name, tensor in tensors.items()}


def write_nanogpt(path: Path, model: GPT, optimizer: torch.optim.AdamW, row: LogRow, *, n_steps: int) -> None:
    """Write a checkpoint in nanoGPT's layout, weights and Adam moments rounded to bfloat16."""
    state = optimizer.state_dict()
    moments = {
        index: {
            "step": entry["step"],
            "exp_avg": entry["exp_avg"].to(torch.bfloat16),
            "exp_avg_sq": entry["exp_avg_sq"].to(torch.bfloat16),
        }
        for index, entry in state["state"].items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "model": as_bfloat16(dict(model.state_dict())),
            "optimizer": {"state": moments, "param_groups": state["param_groups"]},
            "model_args": asdict(model.config),
            "iter_num": row.step,
            "best_val_loss": row.val_loss,
            "config": nanogpt_config(model.config, path, n_steps),
        },
        path,
    )


def nanogpt_config(config: GPTConfig, path: Path, n_steps: int) -> dict[str, int | float | str | bool]:
    """Return the settings under the names nanoGPT's train.py gives them."""
    folder = path.relative_to(SAMPLES).parts[0]
    return {
        **asdict(config),
        "out_dir": folder,
        "dataset": folder,
        "init_from": "scratch",
        "batch_size": BATCH_SIZE,
        "gradient_accumulation_steps": 1,
        "learning_rate": LEARNING_RATE,
        "min_lr": LEARNING_RATE,
        "max_iters": n_steps,
        "lr_decay_iters": n_steps,
        "decay_lr": False,
        "warmup_iters": WARMUP_STEPS,
        "weight_decay": WEIGHT_DECAY,
        "beta1": BETAS[0],
        "beta2": BETAS[1],
        "grad_clip": GRAD_CLIP,
        "device": "cpu",
        "dtype": "float32",
        "compile": False,
        "seed": SEED,
    }


def make_gpt() -> tuple[GPT, LossOf]:
    """Make the GPT of the samples, from torch's random state, and its loss."""
    model = GPT(GPTConfig(block_size=WINDOW, vocab_size=VOCAB_SIZE, n_layer=5, n_head=4, n_embd=112))

    def loss_of(x_BT: Tensor, y_BT: Tensor) -> Tensor:
        loss = model(x_BT, y_BT)[1]
        assert loss is not None
        return loss

    return model, loss_of


def make_gpt_docs() -> None:
    """Train a GPT on clean text; keep three moments of the one training."""
    train_gpt(GPT_DOCS, moments=GPT_DOCS_MOMENTS)


def make_gpt_junk() -> None:
    """Train the same GPT on the same text with one window in fifty junk; keep the end."""
    folder = SAMPLES / "gpt-junk"
    rng = np.random.default_rng(SEED)
    listing: dict[str, int | list[int]] = {"window_tokens": WINDOW}
    for split in ("train", "val"):
        tokens, listing[split] = plant_junk(read_tokens(GPT_DOCS / f"{split}.bin"), rng)
        write_tokens(folder / f"{split}.bin", tokens)
    (folder / "junk_windows.json").write_text(json.dumps(listing) + "\n")
    shutil.copyfile(GPT_DOCS / "tokenizer.json", folder / "tokenizer.json")
    train_gpt(folder, moments={GPT_JUNK_STEPS: "."})


def train_gpt(folder: Path, *, moments: dict[int, str]) -> None:
    """Train a GPT on a folder's tokens from scratch.

    Args:
        folder: holds ``train.bin`` and ``val.bin``; the training log goes there.
        moments: step to subfolder in which its checkpoint is kept; the greatest ends the training.
    """
    n_steps = max(moments)
    torch.manual_seed(SEED)
    model, loss_of = make_gpt()
    optimizer = make_optimizer(model)

    def save(row: LogRow) -> None:
        if row.step in moments:
            write_nanogpt(folder / moments[row.step] / "ckpt.pt", model, optimizer, row, n_steps=n_steps)

    log = folder / "training_log.csv"
    train(model, loss_of, folder, optimizer=optimizer, steps=range(1, n_steps + 1), log_every=100, log=log, save=save)


def make_llama_docs() -> None:
    """Train a LlamaForCausalLM on gpt-docs' tokens; write a Hugging Face folder, and the first half of them to it."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = SAMPLES / "llama-docs"
    tokens = read_tokens(GPT_DOCS / "train.bin")
    write_tokens(folder / "train.bin", tokens[: tokens.size // 2])
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=112,
        intermediate_size=304,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    model = LlamaForCausalLM(config)

    def loss_of(x_BT: Tensor, y_BT: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(input_ids=x_BT).logits.flatten(0, 1), y_BT.flatten())

    train(
        model,
        loss_of,
        GPT_DOCS,
        optimizer=make_optimizer(model),
        steps=range(1, LLAMA_STEPS + 1),
        log_every=100,
        log=folder / "training_log.csv",
        save=lambda row: None,
    )
    model.bfloat16().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    PreTrainedTokenizerFast(
        tokenizer_file=str(GPT_DOCS / "tokenizer.json"),
        bos_token=SEPARATOR,
        eos_token=SEPARATOR,
        model_max_length=WINDOW,
    ).save_pretrained(folder)
    rename_tokenizer_class(folder / "tokenizer_config.json")


def rename_tokenizer_class(path: Path) -> None:
    """Name the tokenizer class as transformers 4 and 5 both know it."""
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2) + "\n")


# Digits ------------------------------------------------------------------------------------------------


def make_digits(n_epochs: int = 2, batch_size: int = 32) -> None:
    """Write scikit-learn's digits as digits.npz and train the network of digits-cnn/factory.py on them."""
    from sklearn.datasets import load_digits

    folder = SAMPLES / "digits-cnn"
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    images_N, labels_N = images[order].reshape(-1, 8, 8).astype(np.uint8), labels[order].astype(np.uint8)
    np.savez_compressed(
        folder / "digits.npz",
        train_images=images_N[:1500],
        train_labels=labels_N[:1500],
        test_images=images_N[1500:],
        test_labels=labels_N[1500:],
    )
    sys.path.insert(0, str(folder))
    import factory

    torch.manual_seed(SEED)
    module = factory.make()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    stream = factory.batches(batch_size, SEED)
    for _ in range(n_epochs * (1500 // batch_size)):
        optimizer.zero_grad(set_to_none=True)
        factory.loss(module, next(stream)).backward()
        optimizer.step()
    torch.save(module.state_dict(), folder / "model.pt")
    with torch.no_grad():
        for split in ("train", "test"):
            x, y = factory.examples(split)
            accuracy = (module(x).argmax(1) == y).double().mean().item()
            print(f"digits-cnn {split}: loss {factory.loss(module, (x, y)).item():.4f}, accuracy {accuracy:.4f}")
    print(f"digits-cnn: {sum(p.numel() for p in module.parameters())} parameters")


def main() -> None:
    """Read the command line and make what it names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=STEPS, help="make one of the five; all of them by default")
    parser.add_argument("--docs-sources", type=Path, default=DOCS_SOURCES, help="folder of *.rst.txt (python3.11-doc)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    makers: dict[str, Callable[[], None]] = {
        "corpus": lambda: make_corpus(arguments.docs_sources),
        "gpt-docs": make_gpt_docs,
        "gpt-junk": make_gpt_junk,
        "llama-docs": make_llama_docs,
        "digits-cnn": make_digits,
    }
    for name in [arguments.only] if arguments.only else STEPS:
        makers[name]()


if __name__ == "__main__":
    main()
