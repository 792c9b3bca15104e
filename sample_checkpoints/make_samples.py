"""Train the sample checkpoints of this folder from nothing but a Python installation and its documentation.

Run `corpus` first, then the trainings in any order, but gpt-junk after gpt-docs, which it continues:

    apt-get install python3.11-doc                     # reST sources, see --docs-sources
    python sample_checkpoints/make_samples.py --only corpus
    python sample_checkpoints/make_samples.py --only gpt-docs
    python sample_checkpoints/make_samples.py --only gpt-junk
    python sample_checkpoints/make_samples.py --only llama-docs
    python sample_checkpoints/make_samples.py --only digits-cnn

Without `--only` it does all five. Everything is seeded; the corpus depends on the Python version and on the
documentation package, both printed. Needs torch, numpy, tokenizers, transformers and scikit-learn.
Shape suffixes: B batch, T time (tokens), N images.
"""

import argparse
import base64
import csv
import json
import math
import pydoc_data.topics
import random
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnoise.models.gpt import GPT, GPTConfig

HERE = Path(__file__).resolve().parent
DOCS_SOURCES = Path("/usr/share/doc/python3.11/html/_sources")
STEPS = ("corpus", "gpt-docs", "gpt-junk", "llama-docs", "digits-cnn")
GPT_DOCS_MOMENTS = {200: "early", 800: "middle", 2000: "."}
GPT_JUNK_STEPS = 50
LLAMA_STEPS = 1200

VOCAB_SIZE = 2048
SEPARATOR = "<|endoftext|>"
WINDOW = 128
TRAIN_WINDOWS = 4096
VAL_WINDOWS = 256
SECTION_CHARS = 3000
SOURCE_CHARS = 700_000
DOCS_CHARS = 900_000
JUNK_EVERY = 50
JUNK_BYTES = 1920
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
GRAD_CLIP = 1.0
SEED = 1337

Tokens = NDArray[np.uint16]
LossOf = Callable[[Tensor, Tensor], Tensor]


# Corpus ------------------------------------------------------------------------------------------------


def topic_documents() -> list[str]:
    """Return the language reference as pydoc ships it, in the order of its topic names."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return [topics[name] for name in sorted(topics)]


def rest_documents(sources: Path) -> list[str]:
    """Return the reST sources of the tutorial, the how-tos and the library reference.

    The language reference is left out: pydoc's topics are made from it, and text present twice would leak
    from training into validation.
    """
    folders = ("tutorial", "howto", "library")
    paths = [path for folder in folders for path in sorted((sources / folder).glob("*.rst.txt"))]
    return [path.read_text(encoding="utf-8") for path in paths]


def source_documents() -> list[str]:
    """Return the standard library's own modules, without tests, tables and installed packages."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"test", "tests", "idle_test", "site-packages", "pydoc_data", "encodings", "turtledemo"}
    paths = [
        path
        for path in sorted(root.rglob("*.py"))
        if not skipped.intersection(path.relative_to(root).parts) and "sysconfigdata" not in path.name
    ]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths]


def take_chars(documents: list[str], n_chars: int, rng: random.Random) -> list[str]:
    """Draw whole documents in random order until they hold `n_chars` characters."""
    taken: list[str] = []
    for document in rng.sample(documents, len(documents)):
        if sum(map(len, taken)) >= n_chars:
            break
        taken.append(document)
    return taken


def split_sections(document: str) -> list[str]:
    """Cut a document at blank lines into sections of about SECTION_CHARS characters."""
    sections: list[str] = []
    current = ""
    for paragraph in document.split("\n\n"):
        current += paragraph + "\n\n"
        if len(current) >= SECTION_CHARS:
            sections.append(current)
            current = ""
    return [*sections, current] if current.strip() else sections


def make_corpus(sources: Path) -> None:
    """Write gpt-docs/tokenizer.json, train.bin and val.bin."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    rng = random.Random(SEED)
    groups = {
        "topics": topic_documents(),
        "reST": take_chars(rest_documents(sources), DOCS_CHARS, rng) if sources.is_dir() else [],
        "source": take_chars(source_documents(), SOURCE_CHARS, rng),
    }
    sections = [part for documents in groups.values() for text in documents for part in split_sections(text)]
    rng.shuffle(sections)
    print(
        f"python {sys.version.split()[0]}, characters per group:",
        {k: sum(map(len, v)) for k, v in groups.items()},
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sections, trainer)
    ids = [
        token for section in sections for token in [tokenizer.token_to_id(SEPARATOR), *tokenizer.encode(section).ids]
    ]
    print(f"{len(ids)} tokens from {sum(map(len, sections))} characters")

    n_train, n_val = TRAIN_WINDOWS * WINDOW, VAL_WINDOWS * WINDOW
    if len(ids) < n_train + n_val:
        raise SystemExit(f"expected {n_train + n_val} tokens, got {len(ids)}; raise SOURCE_CHARS")
    tokens = np.asarray(ids, dtype=np.uint16)
    folder = HERE / "gpt-docs"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_tokens(folder, tokens[:n_train], tokens[n_train : n_train + n_val])


def write_tokens(folder: Path, train: Tokens, val: Tokens) -> None:
    """Write nanoGPT's two headerless little-endian uint16 files."""
    folder.mkdir(exist_ok=True)
    train.astype("<u2").tofile(folder / "train.bin")
    val.astype("<u2").tofile(folder / "val.bin")
    entropy = unigram_entropy(train)
    print(f"{folder.name}: {train.size} train and {val.size} val tokens, unigram entropy {entropy:.3f}")


def read_tokens(folder: Path, name: str) -> Tokens:
    """Read a file written by `write_tokens`."""
    return np.fromfile(folder / name, dtype="<u2").astype(np.uint16)


def unigram_entropy(tokens: Tokens) -> float:
    """Return the entropy of the token frequencies, in nats: the loss of the best model without context."""
    frequency = np.bincount(tokens, minlength=VOCAB_SIZE) / tokens.size
    seen = frequency[frequency > 0]
    return float(-(seen * np.log(seen)).sum())


def plant_junk(tokens: Tokens, rng: np.random.Generator) -> tuple[Tokens, list[int]]:
    """Overwrite one window in fifty by base64 or hexadecimal dumps of one-coloured images, grey or RGB."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "gpt-docs" / "tokenizer.json"))
    windows = tokens.reshape(-1, WINDOW).copy()
    chosen = np.sort(rng.choice(len(windows), size=round(len(windows) / JUNK_EVERY), replace=False))
    for window in chosen:
        pixel = rng.bytes(1) if rng.random() < 0.5 else rng.bytes(3)
        image = pixel * (JUNK_BYTES // len(pixel))
        text = base64.encodebytes(image).decode() if rng.random() < 0.5 else image.hex(" ")
        windows[window] = tokenizer.encode(text).ids[:WINDOW]
    return windows.reshape(-1), [int(window) for window in chosen]


# Training ----------------------------------------------------------------------------------------------


def batches(tokens: Tokens, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield sequences from random positions, with their next tokens as targets."""
    generator = torch.Generator().manual_seed(seed)
    stream = torch.from_numpy(tokens.astype(np.int64))
    offsets_T = torch.arange(WINDOW)
    while True:
        starts_B = torch.randint(len(stream) - WINDOW, (BATCH_SIZE,), generator=generator)
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
    train_tokens, val_tokens = read_tokens(data, "train.bin"), read_tokens(data, "val.bin")
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
    folder = path.relative_to(HERE).parts[0]
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


def make_gpt(config: GPTConfig) -> tuple[GPT, LossOf]:
    """Make a model and its loss."""
    model = GPT(config)

    def loss_of(x_BT: Tensor, y_BT: Tensor) -> Tensor:
        loss = model(x_BT, y_BT)[1]
        assert loss is not None
        return loss

    return model, loss_of


def make_gpt_docs() -> None:
    """Train a GPT on clean text; keep three moments of the one training."""
    folder = HERE / "gpt-docs"
    n_steps = max(GPT_DOCS_MOMENTS)
    torch.manual_seed(SEED)
    config = GPTConfig(block_size=WINDOW, vocab_size=VOCAB_SIZE, n_layer=5, n_head=4, n_embd=112)
    model, loss_of = make_gpt(config)
    optimizer = make_optimizer(model)

    def save(row: LogRow) -> None:
        if row.step in GPT_DOCS_MOMENTS:
            path = folder / GPT_DOCS_MOMENTS[row.step] / "ckpt.pt"
            write_nanogpt(path, model, optimizer, row, n_steps=n_steps)

    log = folder / "training_log.csv"
    steps = range(1, n_steps + 1)
    train(model, loss_of, folder, optimizer=optimizer, steps=steps, log_every=100, log=log, save=save)


def make_gpt_junk() -> None:
    """Continue gpt-docs' late checkpoint on the same text with one window in fifty junk."""
    docs, folder = HERE / "gpt-docs", HERE / "gpt-junk"
    rng = np.random.default_rng(SEED)
    train_tokens, train_junk = plant_junk(read_tokens(docs, "train.bin"), rng)
    val_tokens, val_junk = plant_junk(read_tokens(docs, "val.bin"), rng)
    write_tokens(folder, train_tokens, val_tokens)
    listing = {"window_tokens": WINDOW, "train": train_junk, "val": val_junk}
    (folder / "junk_windows.json").write_text(json.dumps(listing) + "\n")

    checkpoint = torch.load(docs / "ckpt.pt", weights_only=True)
    model, loss_of = make_gpt(GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict(checkpoint["model"])
    optimizer = make_optimizer(model)
    optimizer.load_state_dict(checkpoint["optimizer"])
    first: int = checkpoint["iter_num"] + 1
    steps = range(first, first + GPT_JUNK_STEPS)

    def save(row: LogRow) -> None:
        if row.step == steps[-1]:
            write_nanogpt(folder / "ckpt.pt", model, optimizer, row, n_steps=row.step)

    log = folder / "training_log.csv"
    train(model, loss_of, folder, optimizer=optimizer, steps=steps, log_every=10, log=log, save=save)


def make_llama_docs() -> None:
    """Train a LlamaForCausalLM on gpt-docs' tokens and write a Hugging Face folder."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder, docs = HERE / "llama-docs", HERE / "gpt-docs"
    folder.mkdir(exist_ok=True)
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
        docs,
        optimizer=make_optimizer(model),
        steps=range(1, LLAMA_STEPS + 1),
        log_every=100,
        log=folder / "training_log.csv",
        save=lambda row: None,
    )
    model.bfloat16().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    PreTrainedTokenizerFast(
        tokenizer_file=str(docs / "tokenizer.json"),
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

    folder = HERE / "digits-cnn"
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
