"""Layers shared out to processes, each of which reads the run file for itself.

Plain child processes, not ``multiprocessing``: that would run the caller's own script again, which may be a training
run, or copy a process that holds a GPU. What a worker cannot answer is done here, so that an error is the same one.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from gnoise.records import Layer
from gnoise.runfile.per_layer import LayerFindings, find_layer, ladders_of
from gnoise.runfile.run import Run, open_run

_LAYERS_EACH = 12
"""Take about as long as it takes a process to start, which is to import SciPy and to tabulate laws."""
_MOST = 16
_KEPT = 4_000_000
"""Numbers of eight bytes, just below the largest size for which glibc learns that."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def workers_for(layers: int) -> int:
    """Choose how many processes to use.

    Args:
        layers: of the run.
    """
    return max(1, min(_cores(), _MOST, layers // _LAYERS_EACH))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def find_layers(run: Run, remedies: Sequence[str] | None, workers: int) -> list[LayerFindings]:
    """Analyse every layer, and return what was found in the layers' order, whoever found it.

    Args:
        run: open.
        remedies: which to judge, by name; all without.
        workers: processes to do it in; 1 is this one.
    """
    if workers == 1:
        return list(_share(run, remedies, 0, 1).values())
    found: dict[str, LayerFindings] = {}
    with ExitStack() as stack:
        started = [stack.enter_context(_started(run.path, remedies, share, workers)) for share in range(workers)]
        for share, process in enumerate(started):
            answer = _answer(process)
            found |= _share(run, remedies, share, workers) if answer is None else answer
    return [found[layer.name] for layer in run.layers]


def _share(run: Run, remedies: Sequence[str] | None, share: int, shares: int) -> dict[str, LayerFindings]:
    # What is freed once as large as this the C library no longer gives back to the system each time, page by page.
    np.empty(_KEPT)
    ladders = ladders_of(run, remedies)
    return {layer.name: find_layer(run, layer, ladders) for layer in _shared(run.layers, share, shares)}


def _shared(layers: Sequence[Layer], share: int, shares: int) -> Sequence[Layer]:
    """Deal layers out, the largest first, so that all take about as long."""
    return layers if shares == 1 else sorted(layers, key=lambda layer: -layer.numel)[share::shares]


@contextmanager
def _started(
    path: Path, remedies: Sequence[str] | None, share: int, shares: int
) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Start a worker, which is gone when the ``with`` block is over; ``None`` where none can be started.

    It is in a process group of its own, so that Ctrl-C reaches only us.
    """
    code = [sys.executable, "-P", "-m", "gnoise.runfile.workers"]
    task = [str(path), json.dumps(remedies and [*remedies]), str(share), str(shares)]
    found_here = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    environment = os.environ | {"PYTHONPATH": found_here} | dict.fromkeys(_ONE_THREAD, "1")
    try:
        process = subprocess.Popen(
            [*code, *task],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,
        )
    except OSError:
        yield None
        return
    with process:
        try:
            yield process
        finally:
            process.kill()


def _answer(process: "subprocess.Popen[bytes] | None") -> dict[str, LayerFindings] | None:
    """Wait for what a worker found; ``None`` where it failed."""
    if process is None or process.stdout is None:
        return None
    answer = process.stdout.read()
    return pickle.loads(answer) if process.wait() == 0 else None


def _work(path: str, remedies: str, share: str, shares: str) -> None:
    """Be a worker: analyse one share of a run's layers and write it to standard output."""
    with open_run(path) as run:
        found = _share(run, json.loads(remedies), int(share), int(shares))
    pickle.dump(found, sys.stdout.buffer)


if __name__ == "__main__":
    _work(*sys.argv[1:])
