"""What is changed around a pass and put back: compilation, training mode, random numbers."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


@contextmanager
def run_eagerly() -> Iterator[None]:
    """Run compiled modules and functions as written: compiled code calls no hooks."""
    may_be_compiled = "torch._dynamo" in sys.modules  # whose import takes seconds, and without which nothing is
    with torch.compiler.set_stance("force_eager") if may_be_compiled else nullcontext():
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put every layer in eval mode, and each back in its own."""
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, training in modes.items():
            child.training = training


def forked(tensors: Sequence[Tensor]) -> AbstractContextManager[None]:
    """Leave the generators of the CPU and of these tensors' devices as they were."""
    return torch.random.fork_rng(devices=_cuda_devices(tensors))


def random_state(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Read these generators: two readings differ when something was drawn in between."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in _cuda_devices(tensors))]


def _cuda_devices(tensors: Sequence[Tensor]) -> list[int]:
    return sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})
