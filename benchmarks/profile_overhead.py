"""What a whole profile costs beside plain training passes over the same examples, in time and in memory.

A profile is everything ``gnoise profile`` does once the checkpoint is loaded: collecting, writing the run file, and
analysing it. The plain pass is forward and backward of the mean loss over the same examples in batches of the same
size, with gradients cleared in between. Both take turns within one process, so that a busy machine slows both. Memory
is the peak resident set of a process that does the one or the other, nothing else; and of one that only collects,
because analysis needs neither the network nor its gradients and can be done elsewhere.
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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from report import Cell, publish

from gnoise.cli.settings import Settings, resolve
from gnoise.collect import Parameter, Workload, collect_run, place, run_info, trainable_parameters
from gnoise.collect.draws import DrawEngine
from gnoise.collect.load import load_workload
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.runfile import RunWriter
from gnoise.runfile.analyze import analyze
from gnoise.stats.evidence import Ladders

SAMPLES = Path("sample_checkpoints")
WIDE = "gpt-wide"
"""An untrained GPT of twelve million parameters on the data of gpt-docs: a profile's fixed costs weigh less there."""
_WIDE = GPTConfig(block_size=128, vocab_size=4096, n_layer=6, n_head=6, n_embd=384)
SOURCES = ("gpt-docs", "llama-docs", "digits-cnn", WIDE)
COLUMNS = (
    "checkpoint", "parameters", "draws", "of", "plain s", "profile s", "ratio", "lowest", "highest", "CPU ratio",
    "draws'", "reductions", "analysis", "writing", "evidence %", "extra MB", "collecting MB", "buffers",
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
            "ratio: whole profile over plain forward and backward on the same examples, median, lowest and highest of",
            "the rounds, which take turns; CPU ratio: the same in CPU time. Then the profile's parts in units of the",
            "plain pass, in CPU time too: making draws (gradients with every example's norms), reductions of draws,",
            "analysis in one process, writing the run file. evidence %: what judging remedies, a part of the analysis,",
            "adds to all the rest.",
            "extra MB: peak memory above the plain pass's; collecting MB: without analysis; buffers: that in units of",
            "one gradient.",
        ],
        settings={
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
    settings, workload, parameters = _load(name, options.draws)
    _plain(settings.model_copy(update={"draws": 2}), workload, parameters)  # warm-up
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        start = time.perf_counter()
        cpu = _seconds(_plain, settings, workload, parameters)
        between = time.perf_counter()
        found = {"plain_cpu": cpu, **_profile(settings, workload, parameters)}
        found |= {"plain": between - start, "profile": time.perf_counter() - between}
        rounds.append(found)
        print(
            f"{name} round {number + 1}: CPU plain {cpu:.1f} s, profile {found['profile_cpu']:.1f} s", file=sys.stderr
        )
    peak = {what: _peak_bytes(what, name, options) for what in ("plain", "collect", "profile")}
    return {
        "draws": settings.draws,
        "examples_per_draw": settings.batch_size,
        "parameters": sum(p.layer.numel for p in parameters),
        "seconds": rounds,
        "peak_bytes": peak,
    }


def _row(name: str, found: dict[str, Any]) -> Sequence[Cell]:
    rounds: list[dict[str, float]] = found["seconds"]
    ratios = [x["profile"] / x["plain"] for x in rounds]
    extra = {what: found["peak_bytes"][what] - found["peak_bytes"]["plain"] for what in ("profile", "collect")}
    return (
        name,
        found["parameters"],
        found["draws"],
        found["examples_per_draw"],
        statistics.median(x["plain"] for x in rounds),
        statistics.median(x["profile"] for x in rounds),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(x["profile_cpu"] / x["plain_cpu"] for x in rounds),
        *(statistics.median(x[part] / x["plain_cpu"] for x in rounds) for part in PARTS),
        statistics.median(100.0 * x["evidence"] / (x["profile_cpu"] - x["evidence"]) for x in rounds),
        round(extra["profile"] / 1e6),
        round(extra["collect"] / 1e6),
        extra["collect"] / (4.0 * found["parameters"]),
    )


PARTS = ("backward", "reductions", "analysis", "writing")


def _load(name: str, draws: int | None) -> tuple[Settings, Workload, list[Parameter]]:
    """Load a checkpoint with the settings that lie beside it."""
    source = SAMPLES / ("gpt-docs" if name == WIDE else name)
    settings, _ = resolve(source, {"draws": draws})
    workload = load_workload(source, data=settings.data, factory=settings.factory, loss=settings.loss)
    if name == WIDE:
        torch.manual_seed(0)
        workload = replace(workload, module=GPT(_WIDE), second_moments={}, optimizer_state={})
    place(workload, "cpu", train=settings.mode == "train")
    return settings, workload, trainable_parameters(workload.module)


def _plain(settings: Settings, workload: Workload, parameters: Sequence[Parameter]) -> None:
    """Run forward and backward over the examples a profile draws, batch by batch."""
    stream = workload.batches(settings.batch_size, settings.seed)
    for _ in range(settings.draws):
        batch, _ids = next(stream)
        for parameter in parameters:
            parameter.tensor.grad = None
        workload.loss(workload.module, batch).backward()


def _profile(
    settings: Settings, workload: Workload, parameters: list[Parameter], *, analysed: bool = True
) -> dict[str, float]:
    """Time a whole profile, or all of it but analysis, and its parts, in CPU seconds: a machine may be busy."""
    info = run_info(
        workload,
        parameters,
        source="sample",
        draws=settings.draws,
        examples_per_draw=settings.batch_size,
        seed=settings.seed,
        command="benchmark",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.gnoise"
        with ExitStack() as stack:
            drawing = stack.enter_context(_stopwatch(DrawEngine, "draw"))
            writes = [stack.enter_context(_stopwatch(RunWriter, name)) for name in ("write_block", "close")]
            judging = [stack.enter_context(_stopwatch(Ladders, name)) for name in ("judge", "add", "rows")]
            collecting = _seconds(collect_run, workload, parameters, path, info=info)
            analysing = _seconds(partial(analyze, workers=1), path) if analysed else 0.0
    backward, writing = sum(drawing), sum(map(sum, writes))
    return {
        "profile_cpu": collecting + analysing,
        "backward": backward,
        "reductions": collecting - backward - writing,
        "analysis": analysing,
        "writing": writing,
        "evidence": sum(map(sum, judging)),
    }


@contextmanager
def _stopwatch(owner: type, name: str) -> Iterator[list[float]]:
    """Note the CPU seconds of every call of a method while the ``with`` block lasts."""
    seconds: list[float] = []
    method: Callable[..., object] = getattr(owner, name)

    def timed(*args: object) -> object:
        start = time.process_time()
        try:
            return method(*args)
        finally:
            seconds.append(time.process_time() - start)

    with patch.object(owner, name, timed):
        yield seconds


def _seconds(function: Callable[..., object], *args: object, **named: object) -> float:
    start = time.process_time()
    function(*args, **named)
    return time.process_time() - start


def _peak_bytes(what: str, name: str, options: argparse.Namespace) -> int:
    """Do the one or the other in a fresh process and return its peak resident set."""
    command = [sys.executable, __file__, "--child", what, "--sources", name, "--threads", str(options.threads)]
    command += [] if options.draws is None else ["--draws", str(options.draws)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout))


def _child(what: str, name: str, options: argparse.Namespace) -> None:
    """Do the one or the other, and print this process's peak resident set in bytes."""
    settings, workload, parameters = _load(name, options.draws)
    if what == "plain":
        _plain(settings, workload, parameters)
    else:
        _profile(settings, workload, parameters, analysed=what == "profile")
    print(_peak_of_this_process())


def _peak_of_this_process() -> int:
    """Read the peak resident set; on Linux not from ``getrusage``, which counts the parent's before ``exec``."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sources", nargs="+", default=SOURCES, help=f"folders of sample_checkpoints, or {WIDE} (all but gpt-junk)"
    )
    parser.add_argument("--draws", type=int, help="gradients to draw, a multiple of 16 (as in gnoise.toml)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of plain and profile (3)")
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch (1: two on a busy machine wait for each other)"
    )
    parser.add_argument("--quick", action="store_true", help="16 draws, one round, nothing written")
    parser.add_argument("--child", choices=("plain", "collect", "profile"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.draws, options.rounds = 16, 1
    return options


if __name__ == "__main__":
    main()
