"""What a whole profile costs beside plain training passes over the same examples, in time and in memory.

A profile is everything ``gnoise profile`` does once the checkpoint is loaded: collecting, writing the run file, and
analysing it. The plain pass is forward and backward of the mean loss over the same examples in batches of the same
size, with gradients cleared in between. Both take turns within one process, so that a busy machine slows both. Memory
is the peak resident set of a process that does the one or the other, nothing else.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from report import Cell, publish

from gnoise.collect import Parameter, Workload, collect_run, place, run_info, trainable_parameters
from gnoise.collect.draws import DrawEngine
from gnoise.collect.load import load_workload
from gnoise.runfile import RunWriter
from gnoise.runfile.analyze import analyze

SAMPLES = Path("sample_checkpoints")
SOURCES = ("gpt-docs", "llama-docs", "digits-cnn")
SEED = 0
COLUMNS = (
    "checkpoint", "parameters", "plain s", "profile s", "ratio", "lowest", "highest",
    "backward", "reductions", "analysis", "writing", "extra MB", "buffers",
)  # fmt: skip


def main() -> None:
    """Measure every sample checkpoint and write the table, or be one of the processes whose memory is measured."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.child is not None:
        _child(options.child, options.sources[0], options)
        return
    measured = {name: _measure(name, options) for name in options.sources}
    publish(
        "profile_overhead",
        notes=[
            "ratio: whole profile / plain forward and backward over the same examples, median of the rounds, which take",
            "turns; lowest and highest of the rounds. Then the profile's time in units of the plain pass: backward passes",
            "one example at a time (with their norms), reductions of draws and noise, analysis, writing the run file.",
            "extra MB: peak resident set above the plain pass's; buffers: the same in units of one gradient.",
        ],
        settings={
            "draws": options.draws,
            "examples a draw": options.batch_size,
            "rounds": options.rounds,
            "threads": options.threads,
        },
        columns=COLUMNS,
        rows=[_row(name, found) for name, found in measured.items()],
        details={"rounds": measured},
        save=not options.quick,
    )


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Take rounds of both in turns, then the memory of each in a process of its own."""
    workload, parameters = _load(name)
    _plain(workload, parameters, 2, options.batch_size)  # warm-up
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        plain = _seconds(_plain, workload, parameters, options.draws, options.batch_size)
        rounds.append({"plain": plain, **_profile(workload, parameters, options.draws, options.batch_size)})
        found = rounds[-1]
        print(f"{name} round {number + 1}: plain {plain:.1f} s, profile {found['profile']:.1f} s", file=sys.stderr)
    peak = {what: _peak_bytes(what, name, options) for what in ("plain", "profile")}
    return {"parameters": sum(p.layer.numel for p in parameters), "seconds": rounds, "peak_bytes": peak}


def _row(name: str, found: dict[str, Any]) -> Sequence[Cell]:
    rounds: list[dict[str, float]] = found["seconds"]
    ratios = [x["profile"] / x["plain"] for x in rounds]
    extra = found["peak_bytes"]["profile"] - found["peak_bytes"]["plain"]
    return (
        name,
        found["parameters"],
        statistics.median(x["plain"] for x in rounds),
        statistics.median(x["profile"] for x in rounds),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        *(statistics.median(x[part] / x["plain"] for x in rounds) for part in PARTS),
        round(extra / 1e6),
        extra / (4.0 * found["parameters"]),
    )


PARTS = ("backward", "reductions", "analysis", "writing")


def _load(name: str) -> tuple[Workload, list[Parameter]]:
    workload = load_workload(SAMPLES / name)
    place(workload, "cpu")
    return workload, trainable_parameters(workload.module)


def _plain(workload: Workload, parameters: Sequence[Parameter], draws: int, examples: int) -> None:
    """Run forward and backward over the examples a profile draws, batch by batch."""
    stream = workload.batches(examples, SEED)
    for _ in range(draws):
        batch, _ids = next(stream)
        for parameter in parameters:
            parameter.tensor.grad = None
        workload.loss(workload.module, batch).backward()


def _profile(workload: Workload, parameters: list[Parameter], draws: int, examples: int) -> dict[str, float]:
    """Time a whole profile and its parts, in seconds."""
    info = run_info(
        workload, parameters, source="sample", draws=draws, examples_per_draw=examples, seed=SEED, command="benchmark"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.gnoise"
        with ExitStack() as stack:
            drawing = stack.enter_context(_stopwatch(DrawEngine, "draw"))
            writes = [stack.enter_context(_stopwatch(RunWriter, name)) for name in ("write_block", "close")]
            collecting = _seconds(collect_run, workload, parameters, path, info=info)
        analysing = _seconds(analyze, path)
    backward, writing = sum(drawing), sum(map(sum, writes))
    return {
        "profile": collecting + analysing,
        "backward": backward,
        "reductions": collecting - backward - writing,
        "analysis": analysing,
        "writing": writing,
    }


@contextmanager
def _stopwatch(owner: type, name: str) -> Iterator[list[float]]:
    """Note the seconds of every call of a method while the ``with`` block lasts."""
    seconds: list[float] = []
    method: Callable[..., object] = getattr(owner, name)

    def timed(*args: object) -> object:
        start = time.perf_counter()
        try:
            return method(*args)
        finally:
            seconds.append(time.perf_counter() - start)

    with patch.object(owner, name, timed):
        yield seconds


def _seconds(function: Callable[..., object], *args: object, **named: object) -> float:
    start = time.perf_counter()
    function(*args, **named)
    return time.perf_counter() - start


def _peak_bytes(what: str, name: str, options: argparse.Namespace) -> int:
    """Do the one or the other in a fresh process and return its peak resident set."""
    command = [sys.executable, __file__, "--child", what, "--sources", name, "--threads", str(options.threads)]
    command += ["--draws", str(options.draws), "--batch-size", str(options.batch_size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout))


def _child(what: str, name: str, options: argparse.Namespace) -> None:
    """Do the one or the other, and print this process's peak resident set in bytes."""
    workload, parameters = _load(name)
    (_plain if what == "plain" else _profile)(workload, parameters, options.draws, options.batch_size)
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sources", nargs="+", default=SOURCES, help="folders of sample_checkpoints (all but gpt-junk)"
    )
    parser.add_argument("--draws", type=int, default=64, help="gradients to draw, a multiple of 16 (64)")
    parser.add_argument("--batch-size", type=int, default=8, help="examples a draw (8)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of plain and profile (3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (its own default)")
    parser.add_argument("--quick", action="store_true", help="16 draws, one round, nothing written")
    parser.add_argument("--child", choices=("plain", "profile"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.draws, options.rounds = 16, 1
    return options


if __name__ == "__main__":
    main()
