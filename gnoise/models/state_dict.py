"""A bare state dict, and the function that builds the module it belongs to."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from gnoise.errors import UserError, unreadable
from gnoise.models.beside import FILE, Beside, read_beside
from gnoise.models.checks import load_weights
from gnoise.models.files import (
    SAFETENSORS_SUFFIX,
    TORCH_SUFFIXES,
    is_safetensors,
    is_torch,
    read_safetensors,
    read_torch,
    sha256,
)
from gnoise.models.hyperparameters import hyperparameters
from gnoise.models.losses import choose_loss, module_loss, scalar
from gnoise.models.model import Batch, LoadedModel, Loss, count_parameters, in_millions
from gnoise.models.moments import optimizer_state, second_moments
from gnoise.models.report import SourceReport, report_safetensors, report_state, total_bytes
from gnoise.models.steps import optimizer_steps
from gnoise.references import load_reference

LOOKS_FOR: str = "weight files (.pt, .pth, .ckpt, .safetensors) for --factory"
FORMAT = "state dict"

_STATE_KEYS = ("model", "state_dict", "model_state_dict", "module", "weights")
_PREFIXES = ("_orig_mod.", "module.")  # left by torch.compile, by DistributedDataParallel


def accepts(path: Path) -> bool:
    """Recognise a torch or safetensors file, or a folder with weight files."""
    if path.is_dir():
        return bool(_weight_files(path))
    return path.is_file() and (is_safetensors(path) or is_torch(path))


def load(path: Path, *, factory: str | None, loss: str | None) -> LoadedModel:
    """Build a module with the caller's factory and give it the weights.

    Args:
        path: a weight file, or a folder with one torch file or the shards of one safetensors model.
        factory: ``module:function`` that returns the module, or (module, loss).
        loss: ``module:function`` of (module, batch); without one the factory's, else the module's own.

    Raises:
        UserError: no factory, or a wrong one (exit 2); unsafe (exit 4), unfit or non-finite weights (exit 3).
    """
    files = _files(path)
    state, checkpoint = _read(files)
    if factory is None:
        raise UserError(
            f"expected --factory for a state dict, got none for the {len(state):,} tensors of {path}; "
            "try --factory module:function, a function without arguments that returns the module"
        )
    folder = files[0].parent
    beside = read_beside(folder) if checkpoint is None and path.is_dir() else Beside({})
    checkpoint = beside.checkpoint if checkpoint is None else checkpoint
    module, own_loss = _build(factory, folder)
    load_weights(module, without_prefixes(state), files[0])
    return LoadedModel(
        module=module,
        loss=choose_loss(loss, folder=folder, default=own_loss),
        description=f"{FORMAT} with factory {factory}, {in_millions(count_parameters(module))}",
        sha256=sha256(files),
        optimizer=hyperparameters(checkpoint),
        second_moments=second_moments(checkpoint, module),
        optimizer_state=optimizer_state(checkpoint, module),
        optimizer_steps=optimizer_steps(checkpoint, module),
        notes=beside.notes,
    )


def inspect(path: Path) -> SourceReport:
    """List tensors and hyper-parameters; no factory needed.

    Raises:
        UserError: unsafe (exit 4) or unreadable (exit 3).
    """
    files = _files(path)
    needs = "--factory module:function"
    if all(is_safetensors(file) for file in files):
        checkpoint = read_beside(path).checkpoint if path.is_dir() else {}
        parameters, found = report_safetensors(files), hyperparameters(checkpoint)
        return SourceReport(FORMAT, path, files, total_bytes(files), parameters, found, needs=needs)
    state, checkpoint = _read(files)
    return SourceReport(
        FORMAT,
        path,
        files,
        total_bytes(files),
        report_state(without_prefixes(state)),
        optimizer=hyperparameters(checkpoint),
        needs=needs,
    )


def find_state(checkpoint: object, file: Path) -> dict[str, Tensor]:
    """Find the state dict in what a torch file held: all of it, or one entry.

    Args:
        checkpoint: what was read.
        file: where from, for the message.

    Raises:
        UserError: there is none, or several with none under a customary name (exit 3).
    """
    if isinstance(checkpoint, Mapping):
        if _is_state(checkpoint):
            return dict(checkpoint)
        states = {key: value for key, value in checkpoint.items() if _is_state(value)}
        key = next((key for key in _STATE_KEYS if key in states), None)
        if key is None and len(states) == 1:
            key = next(iter(states))
        if key is not None:
            return dict(states[key])
    holds = f"a dict of {', '.join(map(str, [*checkpoint][:5]))}" if isinstance(checkpoint, Mapping) else ""
    raise unreadable(
        f"expected a state dict (tensors by name, alone or under {', '.join(_STATE_KEYS)}), "
        f"got {holds or type(checkpoint).__name__} in {file}; try torch.save(model.state_dict(), …)"
    )


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what wrappers put before every name."""
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)


def _build(factory: str, folder: Path) -> tuple[nn.Module, Loss]:
    function = load_reference(factory, folder=folder, option="--factory")
    try:
        made = function()
    except Exception as error:
        raise UserError(
            f"expected {factory}() to return a module, got {type(error).__name__}: {error}; "
            "try a factory without required arguments"
        ) from error
    if isinstance(made, nn.Module):
        return made, module_loss
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and callable(made[1]):
        module, function = made

        def own_loss(module: nn.Module, batch: Batch) -> Tensor:
            return scalar(function(module, batch), origin=f"the loss of {factory}")

        return module, own_loss
    raise UserError(
        f"expected {factory}() to return a torch.nn.Module or (module, loss), got {type(made).__name__}; "
        "try a factory that ends with `return model`"
    )


def _weight_files(folder: Path) -> list[Path]:
    """Find the safetensors of a folder; where there are none, its torch files but for an optimizer's."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [file for file in files if file.suffix == SAFETENSORS_SUFFIX] or [
        file for file in files if file.suffix in TORCH_SUFFIXES and file.name != FILE
    ]


def _files(path: Path) -> tuple[Path, ...]:
    files = tuple(_weight_files(path)) if path.is_dir() else (path,)
    if len(files) > 1 and not all(file.suffix == SAFETENSORS_SUFFIX for file in files):
        raise unreadable(
            f"expected one weight file in {path}, got {len(files)} "
            f"({', '.join(file.name for file in files[:3])}, …); try {files[0]}"
        )
    return files


def _read(files: tuple[Path, ...]) -> tuple[dict[str, Tensor], object]:
    if all(is_safetensors(file) for file in files):
        return {name: tensor for file in files for name, tensor in read_safetensors(file).items()}, None
    checkpoint = read_torch(files[0])
    return find_state(checkpoint, files[0]), checkpoint


def _is_state(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(part, Tensor) for part in value.values())
