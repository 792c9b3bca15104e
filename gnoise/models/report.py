"""What `inspect` says of a source, read without running any code from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from torch import Tensor

from gnoise.models.files import read_safetensors_header
from gnoise.records import JsonValue

_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True)
class ParameterReport:
    """One tensor of a source.

    Attributes:
        name: as in the file.
        shape: of the tensor.
        dtype: as torch calls it.
        count: entries.
        tied_to: the earlier tensor whose memory it shares; ``None`` where it has its own.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    tied_to: str | None = None


@dataclass(frozen=True)
class SourceReport:
    """What a source holds.

    Attributes:
        format: how it was recognised, e.g. ``nanoGPT checkpoint``.
        path: the source.
        files: weight files, sorted.
        size_bytes: of those files.
        parameters: every tensor; buffers too, where the format does not tell them apart.
        optimizer: hyper-parameters found; empty without any.
        details: the format's own facts, e.g. nanoGPT's ``model_args``.
        needs: what else loading asks for, as an option to type; empty where nothing.
    """

    format: str
    path: Path
    files: tuple[Path, ...]
    size_bytes: int
    parameters: tuple[ParameterReport, ...]
    optimizer: Mapping[str, JsonValue] = field(default_factory=dict)
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    needs: str = ""

    @property
    def parameter_count(self) -> int:
        """Entries of all tensors, tied ones once."""
        return sum(parameter.count for parameter in self.parameters if parameter.tied_to is None)


def report_state(state: Mapping[str, Tensor]) -> tuple[ParameterReport, ...]:
    """List the tensors of a state dict; those that share memory are tied."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    reports: list[ParameterReport] = []
    for name, tensor in state.items():
        owner = first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name) if tensor.numel() else name
        reports.append(
            ParameterReport(
                name,
                tuple(tensor.shape),
                str(tensor.dtype).removeprefix("torch."),
                tensor.numel(),
                tied_to=None if owner == name else owner,
            )
        )
    return tuple(reports)


def report_safetensors(paths: tuple[Path, ...]) -> tuple[ParameterReport, ...]:
    """List the tensors of safetensors files from their headers.

    Raises:
        UserError: a file is truncated (exit 3).
    """
    return tuple(
        ParameterReport(name, shape, _SAFETENSORS_DTYPES.get(dtype, dtype.lower()), prod(shape))
        for path in paths
        for name, (dtype, shape) in read_safetensors_header(path).items()
    )


def total_bytes(paths: tuple[Path, ...]) -> int:
    """Size on disk of all files together."""
    return sum(path.stat().st_size for path in paths)
