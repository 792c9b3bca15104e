"""What each remedy adds to an optimizer step: wrapped against bare foreach AdamW, in turns, at GPT-2 shapes.

Bare and wrapped steps alternate on the same parameters, moments and gradients; the gradients are put back
before each step, outside of the clock. No model runs and nothing is learnt. On a CPU the clock is the
process's own, so that other work on the machine is not counted; a GPU has a table of its own. `--only`
measures some rows anew and keeps the others of the table: each ratio is taken within one run.
"""

import argparse
import fnmatch
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from report import RESULTS, Cell, publish
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.remedies import (
    State,
    Transform,
    adaclip,
    adagc,
    agc,
    clip_coordinates,
    clip_global_norm,
    clip_norm,
    clip_value,
    shrink,
    stabilize,
    zclip,
)
from gnoise.remedies.wrap import Wrapped

BARS = {"cpu": 1.15, "cuda": 1.05}
"""Wanted of clip, shrink and stabilize."""
COLUMNS = ("remedy", "bare ms", "wrapped ms", "ratio", "quartile 1", "quartile 3", "own ms", "1 + own / bare")


@dataclass(frozen=True)
class Arm:
    """What is timed.

    Attributes:
        transform: the remedy.
        spent: seconds inside of it, one a step.
        select: of the list of parameters.
    """

    transform: Transform
    spent: list[float]
    select: slice


def main() -> None:
    """Time every remedy and write the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shapes = _shapes(layers=6, width=288, vocabulary=16384) if options.quick else _shapes()
    parameters = [nn.Parameter(0.02 * torch.randn(shape, device=device)) for shape in shapes]
    originals = [1e-3 * torch.randn_like(p) for p in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=0.0, foreach=True)
    numel = sum(p.numel() for p in parameters)

    def step(wrapped: Wrapped | None) -> float:
        for parameter, original in zip(parameters, originals, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(original)
        if wrapped is not None:
            wrapped.attach(optimizer)
        seconds = _timed(optimizer.step, device)
        if wrapped is not None:
            wrapped.remove()
        return seconds

    arms = {name: arm for name, arm in _arms(optimizer, device).items() if fnmatch.fnmatchcase(name, options.only)}
    rows: list[tuple[Cell, ...]] = []
    for _ in range(3):
        step(None)  # the first steps make moments and warm allocators
    for name, arm in arms.items():
        wrapped = Wrapped(name, arm.transform, parameters[arm.select])
        rows.append(_row(name, wrapped, arm.spent, step, options.rounds))
        print(*rows[-1])
    where = device.type if device.type == "cpu" else torch.cuda.get_device_name()
    publish(
        _table_name(device),
        notes=[
            f"{numel / 1e6:.1f} M float32 parameters in {len(shapes)} tensors on {where}; "
            "ratio: median over rounds of wrapped / bare, one after the other.",
            "own: within the remedy; 1 + own / bare has less noise and leaves out what the remedy does to caches.",
            "'one pass' multiplies every gradient by 1: the least that any rule for entries can cost.",
            f"The bar for clip, shrink and stabilize is {BARS[device.type]}.",
        ],
        settings={"rounds": options.rounds, "parameters": numel, "threads": options.threads},
        columns=COLUMNS,
        rows=rows if options.only == "*" else _merged(rows, list(_arms(optimizer, device)), _table_name(device)),
        save=not options.quick,
    )


def _row(
    name: str, wrapped: Wrapped, spent: list[float], step: Callable[[Wrapped | None], float], rounds: int
) -> tuple[Cell, ...]:
    step(wrapped)  # makes the state
    spent.clear()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        # The order changes from round to round, so that neither side always comes first.
        if number % 2:
            ours = step(wrapped)
            pairs.append((step(None), ours))
        else:
            pairs.append((step(None), step(wrapped)))
    low, middle, high = statistics.quantiles([ours / bare for bare, ours in pairs], n=4)
    bare, ours = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    own = 1e3 * statistics.median(spent) if spent else None
    return name, bare, ours, middle, low, high, own, None if own is None else 1.0 + own / bare


def _table_name(device: torch.device) -> str:
    return "remedy_cost" if device.type == "cpu" else "remedy_cost_gpu"


def _merged(rows: Sequence[tuple[Cell, ...]], order: Sequence[str], table: str) -> list[tuple[Cell, ...]]:
    path = RESULTS / f"{table}.json"
    held = json.loads(path.read_text(encoding="utf-8"))["table"] if path.exists() else []
    found = {row["remedy"]: tuple(row.get(column) for column in COLUMNS) for row in held}
    found |= {str(row[0]): row for row in rows}
    return [found[name] for name in order if name in found]


def _arms(optimizer: Optimizer, device: torch.device) -> dict[str, Arm]:
    tensors = sum(len(group["params"]) for group in optimizer.param_groups)
    made: dict[str, Arm] = {}
    for name, transform in _transforms(tensors, optimizer).items():
        spent: list[float] = []
        table_only = slice(0, 1) if "token table" in name else slice(None)
        made[name] = Arm(_watched(transform, spent) if device.type == "cpu" else transform, spent, table_only)
    return made


def _watched(transform: Transform, spent: list[float]) -> Transform:
    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        start = time.process_time()
        found = transform.update(grads, state, params)
        spent.append(time.process_time() - start)
        return found

    return Transform(transform.init, update)


def _one_pass() -> Transform:
    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        for grad in grads:
            grad.mul_(1.0)
        return grads, state

    return Transform(lambda params: State(), update)


def _transforms(tensors: int, optimizer: Optimizer) -> dict[str, Transform]:
    return {
        "one pass": _one_pass(),
        "clip_value(τ)": clip_value(2e-3),
        "clip_value([τ, …])": clip_value([2e-3] * tensors),
        "clip_value() tracked": clip_value(),
        "clip_coordinates()": clip_coordinates(),
        "clip_coordinates(adam=…)": clip_coordinates(adam=optimizer),
        "adaclip()": adaclip(),
        "clip_norm(c)": clip_norm(0.1),
        "clip_global_norm(c)": clip_global_norm(0.1),
        "agc()": agc(),
        "adagc()": adagc(),
        "zclip()": zclip(),
        "shrink(rational, τ)": shrink("rational", 2e-3),
        "shrink(quartic, τ)": shrink("quartic", 2e-3),
        "shrink(saturating, τ)": shrink("saturating", 2e-3),
        "shrink(rational) tracked": shrink("rational"),
        "shrink(saturating, rows), token table": shrink("saturating", rows=True),
        "shrink(saturating, rows), everywhere": shrink("saturating", rows=True),
        "stabilize()": stabilize(),
    }


def _shapes(*, layers: int = 12, width: int = 768, vocabulary: int = 50257) -> list[tuple[int, ...]]:
    """List the tensors of a GPT-2, output tied to input."""
    block = [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return [(vocabulary, width), (1024, width), *(block * layers), (width,), (width,)]


def _timed(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of steps a remedy is timed for")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 1 keeps CPU time comparable")
    parser.add_argument("--only", default="*", help="shell pattern of rows to measure; the others stay as they were")
    parser.add_argument("--quick", action="store_true", help="10 M parameters instead of 124 M; writes no results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
