"""Many small operations recorded once and replayed: on a GPU their launches cost more than their arithmetic."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


class Replayed:
    """A function of tensors that runs from a recording on a GPU, and as it is elsewhere.

    A recording is made for every shape; it holds a copy of the inputs and everything in between until :meth:`clear`.

    Args:
        function: launches the same operations for the same shapes, and never waits for the GPU.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._recordings: dict[tuple[object, ...], _Recording] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run; on a GPU the outputs are those of the recording, which the next call of these shapes overwrites."""
        if inputs[0].device.type != "cuda":
            return self._function(*inputs)
        key = tuple((x.shape, x.stride(), x.dtype, x.device) for x in inputs)
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = _Recording(self._function, inputs)
        return recording.replay(inputs)

    def clear(self) -> None:
        """Forget the recordings and give their memory back."""
        self._recordings.clear()


class _Recording:
    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]) -> None:
        with torch.cuda.device_of(inputs[0]):
            self._inputs = tuple(x.detach().clone() for x in inputs)
            beside = _beside(inputs[0].device)
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):  # libraries make their workspaces in the first call, which none may record
                function(*self._inputs)
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=beside, capture_error_mode="thread_local"):
                self._outputs = function(*self._inputs)

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for to, given in zip(self._inputs, inputs, strict=True):
            to.copy_(given)
        self._graph.replay()
        return self._outputs


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """Return a device's stream for all recordings: libraries keep a workspace for every stream that they have seen.

    torch's own for recordings belongs to the device on which it first recorded; another's would not be recorded there.
    """
    return torch.cuda.Stream(device)
