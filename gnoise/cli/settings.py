"""What a profile is run with: flag, then environment, then ``gnoise.toml``, then default."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gnoise.errors import UserError, unreadable

FILE = "gnoise.toml"
_PREFIX = "GNOISE_"


class Settings(BaseModel):
    """Every setting of ``gnoise profile`` a file or the environment may carry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None = None
    factory: str | None = None
    loss: str | None = None
    draws: int = Field(default=64, ge=16)
    batch_size: int = Field(default=8, ge=2)
    seed: int = Field(default=0, ge=0)
    path: int = Field(default=0, ge=0)
    optimizer: Literal["adamw", "sgd", "sign", "muon"] | None = None
    device: str = "auto"
    mode: Literal["train", "eval"] = "train"
    include: str | None = None
    exclude: str | None = None


def resolve(
    source: Path, flags: Mapping[str, object], *, config: Path | None = None
) -> tuple[Settings, dict[str, str]]:
    """Merge every place a setting may come from.

    Args:
        source: the checkpoint; its folder may hold a ``gnoise.toml``.
        flags: what was typed; ``None`` where nothing was.
        config: a file to read in place of the checkpoint folder's own.

    Returns:
        the settings, and where each one came from.

    Raises:
        UserError: a file cannot be read, or a value is not what it should be.
    """
    origins = dict.fromkeys(Settings.model_fields, "default")
    values: dict[str, object] = {}
    file = config or _file_beside(source)
    layers: list[tuple[str, dict[str, object]]] = []
    if file is not None:
        layers.append((str(file), _read(file)))
    layers.append(("environment", _environment()))
    layers.append(("flag", {key: value for key, value in flags.items() if value is not None}))
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        return Settings.model_validate(values), origins
    except ValidationError as error:
        raise _invalid(error, origins) from error


def _file_beside(source: Path) -> Path | None:
    candidate = (source if source.is_dir() else source.parent) / FILE
    return candidate if candidate.is_file() else None


def _read(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise unreadable(f"expected settings in {path}, but {error}; try fixing the file or --config OTHER") from error
    data = values.get("data")
    if isinstance(data, str) and (path.parent / data).exists():
        values["data"] = str(path.parent / data)  # the file's own neighbour, wherever the user stands
    return values


def _environment() -> dict[str, object]:
    names = {f"{_PREFIX}{name.upper()}": name for name in Settings.model_fields}
    return {names[key]: value for key, value in os.environ.items() if key in names}


def _invalid(error: ValidationError, origins: Mapping[str, str]) -> UserError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return UserError(f"expected the settings {known}, got {name!r} in {origins[name]}; try removing it")
    wanted = str(first["msg"]).removeprefix("Input should be ")
    flag = f"--{name.replace('_', '-')}"
    return UserError(
        f"expected {flag} to be {wanted}, got {first['input']!r} from the {origins[name]}; try {flag} "
        f"{Settings.model_fields[name].default}"
    )
