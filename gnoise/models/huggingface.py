"""A Hugging Face folder: ``config.json`` and safetensors, for causal language models."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gnoise.errors import UserError, unreadable, unsafe
from gnoise.models import state_dict
from gnoise.models.beside import read_beside
from gnoise.models.checks import check_finite, check_shapes, refuse_names
from gnoise.models.files import sha256
from gnoise.models.hyperparameters import hyperparameters
from gnoise.models.losses import choose_loss, module_loss, next_token_pairs, token_cross_entropy
from gnoise.models.model import Batch, LoadedModel, count_parameters, in_millions
from gnoise.models.moments import optimizer_state, second_moments
from gnoise.models.report import SourceReport, report_safetensors, total_bytes
from gnoise.models.steps import optimizer_steps
from gnoise.models.tokens import find_tokenizer, token_labels
from gnoise.records import JsonValue

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOOKS_FOR: str = "config.json with model_type, and *.safetensors (Hugging Face)"
FORMAT = "Hugging Face folder"
_TOO_MANY = 2.0
LONGEST_EXAMPLE = 1024
"""Longest default example in tokens: many models allow far more positions than anyone trains on at once."""

_IGNORED_TARGET = -100
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
_DATA = ("train.bin", "train.txt")
_DETAILS = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "tie_word_embeddings")


def accepts(path: Path) -> bool:
    """Recognise a folder with ``config.json`` and at least one safetensors file."""
    return path.is_dir() and (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def load(path: Path, *, factory: str | None, loss: str | None) -> LoadedModel:
    """Load a causal language model in float32, from disk only and without code from the folder.

    Args:
        path: the folder.
        factory: ``module:function`` that builds the module instead of transformers.
        loss: ``module:function`` to use in place of next-token cross-entropy.

    Raises:
        UserError: transformers is not installed (exit 2), the model needs code of its own (exit 4), or
            weights are unfit or non-finite (exit 3).
    """
    if factory is not None:
        return state_dict.load(path, factory=factory, loss=loss)
    files = _weights(path)
    report_safetensors(files)  # a truncated file is refused here, by name
    module = _load_module(path, _read_json(path / "config.json"), files)
    vocab_size = next(module.get_input_embeddings().parameters()).shape[0]
    config = module.config.to_dict()
    positions = next((config[key] for key in _POSITIONS if isinstance(config.get(key), int)), LONGEST_EXAMPLE)
    tokenizer = find_tokenizer(path)
    beside = read_beside(path)
    optimizer = _optimizer(path, beside.checkpoint)
    iteration = f", iteration {optimizer['iteration']}" if "iteration" in optimizer else ""
    return LoadedModel(
        module=module,
        loss=choose_loss(loss, folder=path, default=_language_model_loss),
        description=f"{FORMAT}, {type(module).__name__}{iteration}, {in_millions(count_parameters(module))}",
        sha256=sha256(files),
        example="sequence",
        block_size=min(positions, LONGEST_EXAMPLE),
        vocab_size=vocab_size,
        optimizer=optimizer,
        second_moments=second_moments(beside.checkpoint, module),
        optimizer_state=optimizer_state(beside.checkpoint, module),
        optimizer_steps=optimizer_steps(beside.checkpoint, module),
        row_labels=token_labels(tokenizer, vocab_size),
        default_data=next((str(path / name) for name in _DATA if (path / name).is_file()), None),
        tokenizer=tokenizer,
        notes=beside.notes,
    )


def inspect(path: Path) -> SourceReport:
    """List tensors from the safetensors headers, and what ``config.json`` says; transformers is not needed.

    Raises:
        UserError: truncated weights or no JSON (exit 3).
    """
    files = _weights(path)
    config = _read_json(path / "config.json")
    architectures = config.get("architectures")
    details = {key: config[key] for key in _DETAILS if key in config}
    return SourceReport(
        format=FORMAT,
        path=path,
        files=files,
        size_bytes=total_bytes(files),
        parameters=report_safetensors(files),
        optimizer=_optimizer(path, read_beside(path).checkpoint),
        details={"architecture": architectures[0]} | details if isinstance(architectures, list) else details,
    )


def _weights(path: Path) -> tuple[Path, ...]:
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        single = path / "model.safetensors"
        return (single,) if single.is_file() else tuple(sorted(path.glob("*.safetensors")))
    shards = _read_json(index).get("weight_map")
    names = sorted({Path(str(name)).name for name in shards.values()}) if isinstance(shards, dict) else []
    absent = [name for name in names if not (path / name).is_file()]
    if absent or not names:
        raise unreadable(
            f"expected the {len(names)} shards that {index} names, got {len(absent)} missing "
            f"({', '.join(absent[:3]) or 'no names at all'}); try downloading the folder again"
        )
    return tuple(path / name for name in names)


def _load_module(path: Path, config: Mapping[str, JsonValue], files: tuple[Path, ...]) -> "PreTrainedModel":
    if find_spec("transformers") is None:
        raise UserError(f"expected the transformers package to load {path}, got none; try pip install 'gnoise[hf]'")
    import transformers

    # A folder may name an attention kernel to download and run: the built-in one is the same function.
    attention = "eager" if any(key.endswith("attn_implementation") for key in config) else None
    try:
        with _offline_and_quiet():
            described = _described_parameters(path, attention)
            stored = sum(report.count for report in report_safetensors(files))
            if described > _TOO_MANY * stored:  # said before memory is taken for it
                raise unreadable(
                    f"expected {in_millions(described)}, as {path / 'config.json'} describes, got "
                    f"{in_millions(stored)} in the weight files; try the config.json this checkpoint was saved with"
                )
            loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
                path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation=attention,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except UserError:
        raise
    except Exception as error:
        raise _refusal(path, config, error) from error
    module, found = loaded
    state = module.state_dict()
    missing, unexpected = (sorted(found[key]) for key in ("missing_keys", "unexpected_keys"))
    refuse_names(missing, unexpected, expected=len(state), source=path)
    check_shapes({name: (there, here) for name, there, here in sorted(found["mismatched_keys"])}, path)
    check_finite(state, files[0] if len(files) == 1 else path)
    return module


def _described_parameters(path: Path, attention: str | None) -> int:
    """Count the parameters of the model a configuration describes, without memory for any."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(
            config, trust_remote_code=False, attn_implementation=attention
        )
    return count_parameters(module)


def _refusal(path: Path, config: Mapping[str, JsonValue], error: Exception) -> UserError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = f"{type(error).__name__}: {lines[0][:200] if lines else ''}"
    if "auto_map" in config:
        return unsafe(
            f"expected a model that transformers has itself, got one with code of its own in {path} "
            f"(auto_map; nothing was run; {why}); try --factory module:function with code you have read"
        )
    return unreadable(
        f"expected a causal language model that transformers can load from {path}, got {why}; "
        "try --factory module:function"
    )


@contextlib.contextmanager
def _offline_and_quiet() -> Iterator[None]:
    from huggingface_hub import constants
    from transformers.utils import logging

    before = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        logging.set_verbosity(before[1])
        if before[2]:
            logging.enable_progress_bar()


def _optimizer(path: Path, checkpoint: object) -> dict[str, JsonValue]:
    """Take step, batch and logged rate from the Trainer's JSON, all else from its optimizer's state.

    Its own arguments are a pickle of its classes, and stay unread.
    """
    file = path / "trainer_state.json"
    state = _read_json(file) if file.is_file() else {}
    found = {
        name: state[key]
        for name, key in (("iteration", "global_step"), ("batch_size", "train_batch_size"))
        if isinstance(state.get(key), int)
    }
    history = state.get("log_history")
    logged = [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []
    rates = [rate for entry in logged if isinstance(rate := entry.get("learning_rate"), float) and rate > 0.0]
    return found | ({"lr": rates[-1]} if rates else {}) | hyperparameters(checkpoint)


def _read_json(file: Path) -> dict[str, JsonValue]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(
            f"expected JSON in {file}, got {type(error).__name__}: {error}; try copying the file again"
        ) from error
    if not isinstance(content, dict):
        raise unreadable(f"expected a JSON object in {file}, got {type(content).__name__}; try copying the file again")
    return content


def _language_model_loss(module: nn.Module, batch: Batch) -> Tensor:
    if isinstance(batch, dict):  # input_ids, attention_mask, labels: the model's own loss shifts them
        return module_loss(module, batch)
    inputs_BT, targets_BT = next_token_pairs(batch)
    logits_BTV = module(input_ids=inputs_BT, use_cache=False).logits
    return token_cross_entropy(logits_BTV, targets_BT, ignored=_IGNORED_TARGET)
