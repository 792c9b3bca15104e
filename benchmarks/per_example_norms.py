"""What exact per-example gradient norms cost beside plain forward and backward, in time and in memory.

The model is the one of `sample_checkpoints/gpt-docs` with a vocabulary of 4096: five layers of width 112, learned
positions, a head tied to the embedding. The ways take turns within one process, so that a busy machine slows all of
them, and each round's ratio is to the plain pass of the same round. Memory is the peak resident set of a process that
does the one or the other, above that of a process which only builds the model and the batch. A second table shows
where Gram matrices become dearer than forming each example's gradient.
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
from pathlib import Path

import torch
from report import Cell, publish, table
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from gnoise.collect.per_example import per_example_sq_norms
from gnoise.collect.per_example.cost import Method, choose
from gnoise.collect.per_example.form import Outer, outer_sq_norms
from gnoise.collect.per_example.loop import loop
from gnoise.collect.workload import Batch
from gnoise.models.gpt import GPT, GPTConfig

VOCABULARY = 4096
SIZES = ((128, 16), (16, 64), (512, 4))
MATRICES = ((112, 112), (336, 112), (448, 112), (4096, 112), (768, 768))
TOKENS = (8, 16, 32, 64, 128, 256)


def mean_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Average cross-entropy over tokens; sequences are of one length, so over examples."""
    tokens, targets = batch[0], batch[1]
    return module(tokens, targets)[1]


def idle(module: nn.Module, batch: Batch) -> None:
    """Do nothing: what model and batch take by themselves."""


def plain(module: nn.Module, batch: Batch) -> None:
    """Run one forward and backward pass, no norms."""
    for parameter in module.parameters():
        parameter.grad = None
    mean_loss(module, batch).backward()


def norms(module: nn.Module, batch: Batch) -> None:
    """Measure norms without the self-check."""
    per_example_sq_norms(module, mean_loss, batch, check=False)


def checked(module: nn.Module, batch: Batch) -> None:
    """Measure norms with the self-check, which also computes the batch's gradient."""
    per_example_sq_norms(module, mean_loss, batch)


def looped(module: nn.Module, batch: Batch) -> None:
    """Measure norms the obvious way."""
    examples = len(batch[0])
    loop(module, mean_loss, batch, dict(module.named_parameters()), [1 / examples] * examples)


def vectorised(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Measure norms of gradients that torch.func writes out for every example."""

    def one_loss(parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Tensor:
        return functional_call(module, parameters, (tokens[None], targets[None]))[1]

    parameters = {name: tensor.detach() for name, tensor in module.named_parameters()}
    grads = vmap(grad(one_loss), in_dims=(None, 0, 0))(parameters, *batch)
    return {name: x.flatten(1).square().sum(1) for name, x in grads.items()}


ARMS: dict[str, Callable[[nn.Module, Batch], object]] = {
    "plain": plain,
    "norms": norms,
    "checked": checked,
    "loop": looped,
    "torch.func": vectorised,
}


def main() -> None:
    """Measure all sizes and write the tables, or be one of the processes whose memory is measured."""
    options = _options()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="There is a performance drop")  # attention under torch.func
    if options.child is not None:
        _child(options.child, *options.size)
        return
    seconds = {size: _rounds(*size, options.rounds) for size in SIZES}
    peaks = {size: {arm: _peak_bytes(arm, *size, options) for arm in ("idle", *ARMS)} for size in SIZES}
    crossover = _crossover(options.rounds)
    columns = ("matrix", "tokens", "gram / forming", "chosen")
    publish(
        "per_example_norms",
        notes=[
            "time: in units of plain forward and backward, median of the rounds, with the lowest and the highest.",
            "memory: peak above that of the idle process, in units of the plain pass.",
            "norms: per_example_sq_norms(check=False); checked: its default, which also computes the batch's gradient;",
            "loop: one backward pass per example; torch.func: per-example gradients by vmap.",
        ],
        settings={"vocabulary": VOCABULARY, "rounds": options.rounds, "threads": options.threads},
        columns=("tokens", "examples", "way", "s", "time", "lowest", "highest", "memory", "extra MB"),
        rows=[_row(size, arm, seconds[size], peaks[size]) for size in SIZES for arm in ARMS],
        details={
            "seconds": {f"T{t} B{b}": rounds for (t, b), rounds in seconds.items()},
            "peak_bytes": {f"T{t} B{b}": peak for (t, b), peak in peaks.items()},
            "crossover": [dict(zip(columns, row, strict=True)) for row in crossover],
        },
        save=not options.quick,
    )
    print("\n" + table(columns, crossover))


def _workload(tokens: int, examples: int) -> tuple[nn.Module, Batch]:
    torch.manual_seed(0)
    module = GPT(GPTConfig(block_size=512, vocab_size=VOCABULARY, n_layer=5, n_head=4, n_embd=112))
    ids = torch.randint(0, VOCABULARY, (examples, tokens + 1))
    return module, (ids[:, :-1], ids[:, 1:])


def _rounds(tokens: int, examples: int, rounds: int) -> list[dict[str, float]]:
    module, batch = _workload(tokens, examples)
    for arm in ARMS.values():  # warm-up
        arm(module, batch)
    found = [{name: _seconds(lambda arm=arm: arm(module, batch)) for name, arm in ARMS.items()} for _ in range(rounds)]
    shares = {name: statistics.median(x[name] / x["plain"] for x in found) for name in ARMS}
    print(f"T{tokens} B{examples}: " + ", ".join(f"{k} {v:.2f}" for k, v in shares.items()), file=sys.stderr)
    return found


def _row(size: tuple[int, int], arm: str, rounds: list[dict[str, float]], peaks: dict[str, int]) -> list[Cell]:
    ratios = [x[arm] / x["plain"] for x in rounds]
    extra = peaks[arm] - peaks["idle"]
    return [
        *size,
        arm,
        statistics.median(x[arm] for x in rounds),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        extra / (peaks["plain"] - peaks["idle"]),
        round(extra / 1e6),
    ]


def _crossover(rounds: int) -> list[list[Cell]]:
    """Time both ways of squaring outer products, for matrices of many sizes and examples of many lengths."""
    rows: list[list[Cell]] = []
    for sides in MATRICES:
        for tokens in TOKENS:
            examples = max(1, 1024 // tokens)
            outer = Outer(torch.randn(examples, tokens, sides[0]), torch.randn(examples, tokens, sides[1]))
            ratios = [
                _seconds(lambda o=outer: outer_sq_norms(o, Method.GRAM))
                / _seconds(lambda o=outer: outer_sq_norms(o, Method.SIMULTANEOUS))
                for _ in range(rounds + 1)
            ]
            chosen = choose(tokens, *sides)
            rows.append([f"{sides[0]} × {sides[1]}", tokens, statistics.median(ratios[1:]), str(chosen)])
    return rows


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _peak_bytes(arm: str, tokens: int, examples: int, options: argparse.Namespace) -> int:
    command = [sys.executable, __file__, "--child", arm, "--size", str(tokens), str(examples)]
    done = subprocess.run([*command, "--threads", str(options.threads)], check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout))


def _child(arm: str, tokens: int, examples: int) -> None:
    """Do one thing twice, and print this process's peak resident set in bytes."""
    module, batch = _workload(tokens, examples)
    for _ in range(2):
        (idle if arm == "idle" else ARMS[arm])(module, batch)
    print(_own_peak_bytes())


def _own_peak_bytes() -> int:
    """Read this process's peak resident set; Linux's getrusage would count its parent's, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(x.split()[1]) for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of all ways (15)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (its own default)")
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing written")
    parser.add_argument("--child", choices=("idle", *ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, default=SIZES[0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 3
    return options


if __name__ == "__main__":
    main()
