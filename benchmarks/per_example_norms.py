"""What exact per-example gradient norms cost beside plain forward and backward, in time and in memory.

The model is the one of `sample_checkpoints/gpt-docs` with a vocabulary of 4096: five layers of width 112, learned
positions, a head tied to the embedding. Each way has a process of its own, where it takes turns with the plain pass, so
that a busy machine slows both and no way meets memory that another has left in pieces. Memory is the peak resident set
of a process that does the one or the other, above that of a process which only builds the model and the batch. A second
table shows where Gram matrices become dearer than forming each example's gradient.

Other libraries take part where they are installed; `peers.py` says how. Every piece that was measured is kept in
`runs/per_example_norms`, so that `--pieces` and `--ways` can measure a few at a time; the tables are written once all
are there.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from peers import ABSENT, PEERS, Norms, Prepare, Run, Tokens
from report import Cell, publish, table
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from gnoise.collect.per_example import LAYERS, per_example_sq_norms, stream_per_example_sq_norms
from gnoise.collect.per_example.cost import Method, choose
from gnoise.collect.per_example.form import Outer, outer_sq_norms
from gnoise.collect.per_example.loop import loop
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch
from gnoise.models.gpt import GPT, GPTConfig

VOCABULARY = 4096
SIZES = {"T128 B16": (128, 16), "T16 B64": (16, 64), "T512 B4": (512, 4)}
MATRICES = {f"{r} × {c}": (r, c) for r, c in ((112, 112), (336, 112), (448, 112), (4096, 112), (768, 768))}
TOKENS = (8, 16, 32, 64, 128, 256)
KEPT = Path("runs/per_example_norms")
COLUMNS = ("tokens", "examples", "way", "s", "time", "lowest", "highest", "memory", "extra MB", "left out", "error")
CROSSOVER = ("matrix", "tokens", "gram / forming", "chosen")


def mean_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Average cross-entropy over tokens; sequences are of one length, so over examples."""
    assert isinstance(batch, tuple)
    return module(*batch)[1]


def idle(module: nn.Module, batch: Tokens) -> Run:
    """Do nothing: what model and batch take by themselves."""
    return lambda: None


def plain(module: nn.Module, batch: Tokens) -> Run:
    """Run one forward and backward pass, no norms."""

    def run() -> None:
        for parameter in module.parameters():
            parameter.grad = None
        mean_loss(module, batch).backward()

    return run


def norms(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms batch after batch."""
    stream = stream_per_example_sq_norms(module, mean_loss, repeat(batch), check=False)
    return lambda: next(stream)


def once(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms of one batch without the self-check."""
    return lambda: per_example_sq_norms(module, mean_loss, batch, check=False)


def checked(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms of one batch with the self-check, which also computes the batch's gradient."""
    return lambda: per_example_sq_norms(module, mean_loss, batch)


def draw(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms and the batch's gradient, as a profile does draw after draw; a pass per example where cheaper."""
    stream = Stream(module, mean_loss, dict(module.named_parameters()), LAYERS)

    def run() -> Norms:
        found = stream.draw(batch)
        return looped(module, batch) if found is None else found.sq_norms

    return run


def norm_layers(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms of layer norms alone, the other parameters frozen."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(".ln_" in name)
    return norms(module, batch)


def looped(module: nn.Module, batch: Tokens) -> Norms:
    """Measure norms the obvious way."""
    examples = len(batch[0])
    return loop(module, mean_loss, batch, dict(module.named_parameters()), [1 / examples] * examples).sq_norms


def vectorised(module: nn.Module, batch: Tokens) -> Run:
    """Measure norms of gradients that torch.func writes out for every example."""

    def one_loss(parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Tensor:
        return functional_call(module, parameters, (tokens[None], targets[None]))[1]

    parameters = {name: tensor.detach() for name, tensor in module.named_parameters()}

    def run() -> Norms:
        grads = vmap(grad(one_loss), in_dims=(None, 0, 0))(parameters, *batch)
        return {name: x.flatten(1).square().sum(1) for name, x in grads.items()}

    return run


WAYS: dict[str, Prepare] = {
    "plain": plain,
    "norms": norms,
    "norms, one batch": once,
    "norms, checked": checked,
    "norms and gradient": draw,
    "norm layers only": norm_layers,
    "loop": lambda module, batch: lambda: looped(module, batch),
    "torch.func": vectorised,
    **PEERS,
}


def main() -> None:
    """Measure the pieces asked for and write the tables, or be one of the processes whose memory is measured."""
    options = _options()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")  # the peers' own; attention under torch.func
    if options.child is not None:
        _child(options)
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    for piece in options.pieces:
        for way in [way for way in _ways_of(piece) if way in options.ways]:
            _kept(piece, way).write_text(json.dumps(_measure(piece, way, options)), "utf-8")
    missing = [f"{piece}: {way}" for piece in PIECES for way in _ways_of(piece) if not _kept(piece, way).exists()]
    if missing:
        print("still to measure: " + ", ".join(missing))
        return
    _publish({piece: {way: json.loads(_kept(piece, way).read_text()) for way in _ways_of(piece)} for piece in PIECES})


def _ways_of(piece: str) -> list[str]:
    """List what a piece is made of: a row each of the tables, or the memory taken one way."""
    if piece == "crossover":
        return list(MATRICES)
    return [way for way in ALL_WAYS if piece.startswith("memory") or way not in ("idle", "plain")]


def _kept(piece: str, way: str) -> Path:
    return KEPT / f"{piece}, {way}.json"


def _measure(piece: str, way: str, options: argparse.Namespace) -> Any:
    if piece in SIZES:
        return {"seconds": _in_child("time", way, piece, options), "accuracy": _accuracy(way)}
    if piece.startswith("memory"):
        return _in_child("memory", way, piece.removeprefix("memory "), options)
    return _crossover(way, options.rounds)


PIECES = (*SIZES, *(f"memory {size}" for size in SIZES), "crossover")
ALL_WAYS = ("idle", *WAYS)


def _publish(kept: dict[str, dict[str, Any]]) -> None:
    crossover = [row for rows in kept["crossover"].values() for row in rows]
    publish(
        "per_example_norms",
        notes=[
            "time: in units of plain forward and backward, median of the rounds, with the lowest and the highest.",
            "memory: peak above that of the idle process, in units of the plain pass.",
            "left out: parameters without norms. error: of a squared norm against the loop, relative, largest, T16 B4.",
            "norms: stream_per_example_sq_norms after its first batch; one batch: per_example_sq_norms(check=False);",
            "checked: its default, which also computes the batch's gradient; norms and gradient: what a profile runs",
            "draw after draw; norm layers only: all else frozen; loop: one backward pass per example; torch.func:",
            "per-example gradients by vmap; opacus: its grad_sample hooks, and the norms of its ghost clipping;",
            "BackPACK: BatchL2Grad. Ghost clipping and BackPACK need a head that shares no weight with the embedding,",
            "which spares them the cross term.",
            *([f"not installed: {', '.join(ABSENT)}."] if ABSENT else []),
        ],
        settings={
            "vocabulary": VOCABULARY,
            "rounds at least": min(len(row["seconds"]) for size in SIZES for row in kept[size].values()),
            "threads": torch.get_num_threads(),
        },
        columns=COLUMNS,
        rows=[_row(size, way, kept) for size in SIZES for way in kept[size]],
        details={
            "seconds": {size: {way: row["seconds"] for way, row in kept[size].items()} for size in SIZES},
            "peak_bytes": {size: kept[f"memory {size}"] for size in SIZES},
            "crossover": [dict(zip(CROSSOVER, row, strict=True)) for row in crossover],
        },
    )
    print("\n" + table(CROSSOVER, crossover))


def _workload(tokens: int, examples: int) -> tuple[nn.Module, Tokens]:
    torch.manual_seed(0)
    module = GPT(GPTConfig(block_size=512, vocab_size=VOCABULARY, n_layer=5, n_head=4, n_embd=112))
    ids = torch.randint(0, VOCABULARY, (examples, tokens + 1))
    return module, (ids[:, :-1], ids[:, 1:])


def _accuracy(way: str) -> tuple[int | None, float | None]:
    """Count the parameters a way leaves out, and compare the others with one backward pass per example."""
    module, batch = _workload(16, 4)
    found = WAYS[way](module, batch)()
    if found is None:
        return None, None
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    expected = looped(module, batch)
    whole = torch.stack([*expected.values()]).sum(0)
    errors = [float(((x - expected[n]).abs() / (expected[n] + 1e-4 * whole)).max()) for n, x in found.items()]
    return len(expected) - len(found), max(errors)


def _row(size: str, way: str, kept: dict[str, dict[str, Any]]) -> list[Cell]:
    rounds, peaks = kept[size][way]["seconds"], kept[f"memory {size}"]
    ratios = [x["way"] / x["plain"] for x in rounds]
    extra = peaks[way] - peaks["idle"]
    left_out, error = kept[size][way]["accuracy"]
    return [
        *SIZES[size],
        way,
        statistics.median(x["way"] for x in rounds),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        extra / (peaks["plain"] - peaks["idle"]),
        round(extra / 1e6),
        left_out,
        None if error is None else f"{error:.0e}",
    ]


def _crossover(matrix: str, rounds: int) -> list[list[Cell]]:
    """Time both ways of squaring outer products, for one matrix and examples of many lengths."""
    rows: list[list[Cell]] = []
    sides = MATRICES[matrix]
    for tokens in TOKENS:
        examples = max(1, 1024 // tokens)
        outer = Outer(torch.randn(examples, tokens, sides[0]), torch.randn(examples, tokens, sides[1]))
        ratios = [
            _seconds(lambda o=outer: outer_sq_norms(o, Method.GRAM))
            / _seconds(lambda o=outer: outer_sq_norms(o, Method.SIMULTANEOUS))
            for _ in range(rounds + 1)
        ]
        rows.append([matrix, tokens, statistics.median(ratios[1:]), str(choose(tokens, *sides))])
    return rows


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _in_child(what: str, way: str, size: str, options: argparse.Namespace) -> Any:
    command = [sys.executable, __file__, "--child", what, "--way", way, "--size", size]
    command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(f"{what} {size} {way}", file=sys.stderr)
    return json.loads(done.stdout)


def _child(options: argparse.Namespace) -> None:
    """Print the peak resident set in bytes after doing one thing twice, or the seconds of a way and the plain pass."""
    run = (idle if options.way == "idle" else WAYS[options.way])(*_workload(*SIZES[options.size]))
    run()
    run()
    if options.child == "memory":
        print(_own_peak_bytes())
        return
    beside = plain(*_workload(*SIZES[options.size]))
    beside()
    rounds = [{"plain": _seconds(beside), "way": _seconds(run)} for _ in range(options.rounds)]
    print(json.dumps(rounds))


def _own_peak_bytes() -> int:
    """Read this process's peak resident set; Linux's getrusage would count its parent's, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(x.split()[1]) for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of all ways (9)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (1)")
    parser.add_argument("--pieces", nargs="+", choices=PIECES, default=PIECES, help="what to measure now (all)")
    ways = (*ALL_WAYS, *MATRICES)
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="which of these ways (all)")
    parser.add_argument("--child", choices=("time", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=("idle", *WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, default="T128 B16", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
