"""nanoGPT's ``ckpt.pt``: weights, optimizer, ``model_args`` and configuration in one file."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from gnoise.errors import unreadable
from gnoise.models import state_dict
from gnoise.models.checks import load_weights
from gnoise.models.files import is_torch, read_torch, sha256
from gnoise.models.gpt import GPT, IGNORED_TARGET, GPTConfig
from gnoise.models.hyperparameters import hyperparameters
from gnoise.models.losses import choose_loss, next_token_pairs, token_cross_entropy
from gnoise.models.model import Batch, LoadedModel, count_parameters, in_millions
from gnoise.models.moments import optimizer_state, second_moments
from gnoise.models.report import SourceReport, report_state
from gnoise.models.steps import optimizer_steps
from gnoise.models.tokens import find_tokenizer, token_labels

LOOKS_FOR: str = "ckpt.pt with model and model_args (nanoGPT)"
FORMAT = "nanoGPT checkpoint"

_MASKS = (".attn.bias", ".attn.masked_bias")
_SIZES = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd")


def accepts(path: Path) -> bool:
    """Recognise a file, or a folder with ``ckpt.pt``, which holds ``model`` and ``model_args``.

    Raises:
        UserError: a torch file that is unsafe (exit 4) or truncated (exit 3).
    """
    file = _file(path)
    if not file.is_file() or not is_torch(file):
        return False
    checkpoint = read_torch(file)
    return isinstance(checkpoint, Mapping) and {"model", "model_args"} <= checkpoint.keys()


def load(path: Path, *, factory: str | None, loss: str | None) -> LoadedModel:
    """Build the GPT that ``model_args`` describe and give it the checkpoint's weights.

    Args:
        path: the file or its folder.
        factory: ``module:function`` that builds the module instead, for edited architectures.
        loss: ``module:function`` to use in place of next-token cross-entropy.

    Raises:
        UserError: unfit or non-finite weights (exit 3).
    """
    if factory is not None:
        return state_dict.load(_file(path), factory=factory, loss=loss)
    file = _file(path)
    checkpoint = _read(file)
    state = _state(checkpoint, file)
    config = _config(checkpoint["model_args"], state, file)
    module = GPT(config)
    load_weights(module, state, file)
    optimizer = hyperparameters(checkpoint)
    iteration = f", iteration {optimizer['iteration']}" if "iteration" in optimizer else ""
    tokenizer = find_tokenizer(file.parent)
    return LoadedModel(
        module=module,
        loss=choose_loss(loss, folder=file.parent, default=_next_token_loss),
        description=f"{FORMAT}{iteration}, {in_millions(count_parameters(module))}",
        sha256=sha256([file]),
        example="sequence",
        block_size=config.block_size,
        vocab_size=config.vocab_size,
        optimizer=optimizer,
        second_moments=second_moments(checkpoint, module),
        optimizer_state=optimizer_state(checkpoint, module),
        optimizer_steps=optimizer_steps(checkpoint, module),
        row_labels=token_labels(tokenizer, config.vocab_size),
        default_data=_default_data(checkpoint, file.parent),
        tokenizer=tokenizer,
    )


def inspect(path: Path) -> SourceReport:
    """List tensors, ``model_args`` and hyper-parameters.

    Raises:
        UserError: unsafe (exit 4) or unreadable (exit 3).
    """
    file = _file(path)
    checkpoint = _read(file)
    return SourceReport(
        format=FORMAT,
        path=path,
        files=(file,),
        size_bytes=file.stat().st_size,
        parameters=report_state(_state(checkpoint, file)),
        optimizer=hyperparameters(checkpoint),
        details={
            str(key): value
            for key, value in checkpoint["model_args"].items()
            if isinstance(value, (bool, int, float, str))
        },
    )


def _file(path: Path) -> Path:
    return path / "ckpt.pt" if path.is_dir() else path


def _read(file: Path) -> dict:
    checkpoint = read_torch(file)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model_args"), Mapping):
        raise unreadable(f"expected {LOOKS_FOR}, got {type(checkpoint).__name__} in {file}; try --factory")
    return checkpoint


def _state(checkpoint: Mapping[str, object], file: Path) -> dict[str, Tensor]:
    state = state_dict.without_prefixes(state_dict.find_state(checkpoint, file))
    # Causal masks are buffers of older nanoGPT versions, and are no weights.
    return {name: tensor for name, tensor in state.items() if not name.endswith(_MASKS)}


def _config(model_args: Mapping[str, object], state: Mapping[str, Tensor], file: Path) -> GPTConfig:
    sizes = {key: value for key in _SIZES if isinstance(value := model_args.get(key), int)}
    if len(sizes) < len(_SIZES):
        absent = ", ".join(key for key in _SIZES if key not in sizes)
        raise unreadable(
            f"expected model_args with {', '.join(_SIZES)}, got none or no integer for {absent} in {file}; "
            "try --factory module:function with the code this checkpoint was trained with"
        )
    if min(sizes.values()) < 1 or sizes["n_embd"] % sizes["n_head"]:
        raise unreadable(
            f"expected model_args of positive sizes with n_head dividing n_embd, got {sizes} in {file}; "
            "try a checkpoint whose model_args were not edited"
        )
    dropout, bias = model_args.get("dropout"), model_args.get("bias")
    return GPTConfig(
        block_size=sizes["block_size"],
        vocab_size=sizes["vocab_size"],
        n_layer=sizes["n_layer"],
        n_head=sizes["n_head"],
        n_embd=sizes["n_embd"],
        dropout=float(dropout) if isinstance(dropout, (int, float)) else 0.0,
        bias=bias if isinstance(bias, bool) else "transformer.ln_f.bias" in state,
    )


def _default_data(checkpoint: Mapping[str, object], folder: Path) -> str | None:
    # Written as the checkpoint's own path is: a run file then names no folder the user did not type.
    places = [folder / "train.bin", folder / ".." / "train.bin"]
    config = checkpoint.get("config")
    dataset = config.get("dataset") if isinstance(config, Mapping) else None
    if isinstance(dataset, str):  # nanoGPT's own layout: out/ckpt.pt beside data/<dataset>/train.bin
        places.append(folder / ".." / "data" / Path(dataset).name / "train.bin")
    return next((str(place) for place in places if place.is_file()), None)


def _next_token_loss(module: nn.Module, batch: Batch) -> Tensor:
    inputs_BT, targets_BT = next_token_pairs(batch)
    logits_BTV, _ = module(inputs_BT)
    return token_cross_entropy(logits_BTV, targets_BT, ignored=IGNORED_TARGET)
