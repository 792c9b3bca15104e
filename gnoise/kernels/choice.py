"""Which version of a kernel runs: Triton's on CUDA, torch's elsewhere."""

import importlib.util
import os
import warnings
from enum import StrEnum
from functools import cache

import torch
from torch import Tensor

from gnoise.errors import UserError

SWITCH = "GNOISE_KERNELS"
"""Environment variable that forces either version."""
_OLDEST = (8, 0)
_WIDTHS = (torch.float32, torch.float16, torch.bfloat16)


class Backend(StrEnum):
    """Where a kernel's arithmetic is done."""

    TORCH = "torch"
    TRITON = "triton"


def choose(*tensors: Tensor) -> Backend:
    """Choose for a call with these tensors.

    ``GNOISE_KERNELS=torch`` or ``triton`` forces the choice. Otherwise Triton runs what lies on an NVIDIA GPU of
    compute capability 8.0 or newer in 32 or 16 bits; where an accelerator has to do without it, one line says so once.

    Raises:
        UserError: the switch has another value, or forces what cannot run.
    """
    wanted = os.environ.get(SWITCH, "auto")
    if wanted not in ("auto", *Backend):
        raise UserError(f"expected {SWITCH} to be auto, torch or triton, got {wanted!r}; try {SWITCH}=auto")
    if wanted == Backend.TORCH:
        return Backend.TORCH
    device = tensors[0].device
    lacking = _lacking(device)
    narrow = all(x.dtype in _WIDTHS for x in tensors)
    if wanted == Backend.TRITON and (lacking is not None or not narrow):
        found = "tensors of other than 16 or 32 bits" if lacking is None else lacking
        raise UserError(f"expected what Triton can run with {SWITCH}=triton, got {found}; try {SWITCH}=auto")
    if lacking is not None and device.type != "cpu":
        _say_once(f"gnoise's kernels run in torch, not in Triton: {lacking}")
    return Backend.TRITON if lacking is None and narrow else Backend.TORCH


def interprets() -> bool:
    """Say whether Triton programs run in Triton's interpreter, which needs no GPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


@cache
def multiprocessors(device: torch.device) -> int:
    """Count what a kernel's programs are spread over; the interpreter gets a few, so that its cases need several."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3


@cache
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that the programs of a multiprocessor have; the interpreter gets an H100's."""
    if device.type != "cuda":
        return 228 << 10
    return torch.cuda.get_device_properties(device).shared_memory_per_multiprocessor


@cache
def _lacking(device: torch.device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if interprets():
        return None
    if device.type != "cuda":
        return f"a tensor on {device.type}"
    if torch.version.hip is not None:
        return "an AMD GPU (ROCm)"
    found = torch.cuda.get_device_capability(device)
    return None if found >= _OLDEST else f"a GPU of compute capability {found[0]}.{found[1]}, older than 8.0"


@cache
def _say_once(line: str) -> None:
    warnings.warn(line, stacklevel=4)
