"""What each remedy adds to an optimizer step: wrapped against bare foreach AdamW, in turns, at GPT-2 shapes.

Bare and wrapped steps alternate on the same parameters, moments and gradients; the gradients are put back
before each step, outside of the clock. No model runs and nothing is learnt. On a CPU the clock is the
process's own, so that other work on the machine is not counted.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from report import Cell, publish
from torch import nn
from torch.optim import Optimizer

from gnoise.remedies import (
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

BAR = 1.15
"""Wanted of clip, shrink and stabilize on a CPU."""


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

    rows: list[tuple[Cell, ...]] = []
    for name, transform in _transforms(len(shapes), optimizer).items():
        rows.append(_row(name, Wrapped(name, transform, parameters), step, options.rounds))
        print(*rows[-1])
    publish(
        "remedy_cost",
        notes=[
            f"{numel / 1e6:.1f} M float32 parameters in {len(shapes)} tensors on {device.type}; "
            "ratio: median over rounds of wrapped / bare, one after the other.",
            f"The bar for clip, shrink and stabilize is {BAR} on a CPU.",
        ],
        settings={"rounds": options.rounds, "parameters": numel, "threads": options.threads},
        columns=("remedy", "bare ms", "wrapped ms", "ratio", "quartile 1", "quartile 3"),
        rows=rows,
        save=not options.quick,
    )


def _row(name: str, wrapped: Wrapped, step: Callable[[Wrapped | None], float], rounds: int) -> tuple[Cell, ...]:
    step(None)  # first steps make states and warm allocators
    step(wrapped)
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
    return name, bare, ours, middle, low, high


def _transforms(tensors: int, optimizer: Optimizer) -> dict[str, Transform]:
    return {
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
        "shrink(saturating, rows)": shrink("saturating", rows=True),
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
    parser.add_argument("--quick", action="store_true", help="10 M parameters instead of 124 M; writes no results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
