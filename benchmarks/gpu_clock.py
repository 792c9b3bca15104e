"""Timing on a GPU by graph replays over rotating inputs: neither launches nor caches are measured. Does nothing alone.

Without a GPU the same calls are timed by the wall clock, which only shows that a benchmark runs.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
_CACHE = 256 << 20
"""Bytes of inputs to rotate over: several times the second-level cache of an H200."""


def copies_for(input_bytes: int) -> int:
    """Say how many sets of inputs of that size leave no cache warm."""
    return max(1, min(16, -(-_CACHE // max(1, input_bytes)))) if CUDA else 1


def seconds(calls: Sequence[Callable[[], object]], *, repeats: int = 15) -> float:
    """Time one call: the median replay of a graph of all of them, over their number.

    Args:
        calls: the same work on different inputs.
        repeats: replays.
    """
    for call in calls:
        call()
    if not CUDA:
        return _wall(calls)
    run = _graph(calls) or _in_turn(calls)
    for _ in range(3):
        run()
    found: list[float] = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / 1e3 / len(calls))
    return statistics.median(found)


def launched_seconds(call: Callable[[], object], *, repeats: int = 50) -> float:
    """Time one call as a training loop makes it, its launches included."""
    for _ in range(5):
        call()
    if CUDA:
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if CUDA:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def copy_bandwidth(numel: int = 1 << 27) -> float:
    """Copy float32 numbers on the device, by its copy engine and by a kernel; the faster's bytes a second, both ways.

    Args:
        numel: numbers; half a gigabyte of them unless said.
    """
    numel = numel if CUDA else min(numel, 1 << 16)
    pairs = [[torch.randn(numel, device=DEVICE) for _ in range(2)] for _ in range(max(2, copies_for(4 * numel)))]
    by_engine = seconds([lambda a=a, b=b: b.copy_(a) for a, b in pairs])
    by_kernel = seconds([lambda a=a, b=b: torch.mul(a, 1.0, out=b) for a, b in pairs])
    return 8.0 * numel / min(by_engine, by_kernel)


def _wall(calls: Sequence[Callable[[], object]]) -> float:
    start = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - start) / len(calls)


def _graph(calls: Sequence[Callable[[], object]]) -> Callable[[], object] | None:
    """Record all calls in a CUDA graph; ``None`` where one of them waits for the GPU."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            for call in calls:
                call()
    except RuntimeError as error:
        print(f"  timed without a graph: {str(error).splitlines()[0]}")
        torch.cuda.synchronize()
        return None
    return graph.replay


def _in_turn(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    def run() -> None:
        for call in calls:
            call()

    return run
