"""What each remedy does to training under planted noise, on two problems whose optimum is known to have loss zero.

A gradient is exact plus planted noise. Every arm, none included, trains at every rate of a grid and keeps the rate that
was best on six seeds; the table reports the other seeds, paired with none. All seeds and rates of an arm are
tensors of one optimizer, each with its own noise, which is the same for every arm. Muon steps matrices only: it has
least squares, and four such matrices of which one may be loud, where the claim of layer-wise rates can show.
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from report import RESULTS, Cell, publish
from scipy import stats
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.remedies import (
    Geometry,
    LayerwiseLR,
    Transform,
    adaclip,
    adagc,
    adagn,
    agc,
    chain,
    clip_coordinates,
    clip_global_norm,
    clip_norm,
    clip_value,
    momentum,
    shrink,
    stabilize,
    wrap,
    zclip,
)

Make = Callable[[Optimizer], Transform]
Copies = list[list[list[nn.Parameter]]]
"""Parameters by rate, seed and tensor."""
NOISES = ("equal gaussian", "gaussian", "cauchy", "spiky", "rare rows")
LAYERS = ("gaussian", "loud layer")
"""Noises for which it matters that there are layers."""
RATES = {
    "SGD": (0.001, 0.002, 0.003, 0.006, 0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.3),
    "AdamW": (0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.3),
    "Muon": (0.06, 0.09, 0.12, 0.18, 0.25),
}
COLUMNS = ("problem", "optimizer", "noise", "remedy", "rate", "loss", "low", "high", "diverged")
TUNING = 6
"""Seeds the rate is chosen by; the others are reported."""
_WORST = 1e6
"""Losses are cut at this many times the first: how far a run diverged is of no interest."""
_SHARE, _LOUD, _SPIKE, _RAREST, _FAINT = 0.03, 10.0, 30.0, 0.05, 0.1
_LOUD_LAYER = 10.0

ARMS: dict[str, Make] = {
    "none": lambda optimizer: chain(),
    "clip_value() tracked": lambda optimizer: clip_value(),
    "clip_coordinates(2)": lambda optimizer: clip_coordinates(2.0),
    "shrink(rational)": lambda optimizer: shrink("rational"),
    "shrink(quartic)": lambda optimizer: shrink("quartic"),
    "shrink(saturating)": lambda optimizer: shrink("saturating"),
    "shrink(saturating, rows)": lambda optimizer: shrink("saturating", rows=True),
    "shrink(rational) after momentum": lambda optimizer: chain(momentum(0.9), shrink("rational")),
    "adaclip()": lambda optimizer: adaclip(),
    "clip_norm(median)": lambda optimizer: clip_norm(1.0),
    "clip_global_norm(median)": lambda optimizer: clip_global_norm(1.0),
    "agc(1)": lambda optimizer: agc(1.0),
    "adagc(warmup=20)": lambda optimizer: adagc(warmup=20),
    "zclip()": lambda optimizer: zclip(),
    "stabilize()": lambda optimizer: stabilize(),
    "adagn()": lambda optimizer: adagn(),
}
"""Gradients are put in units of their first noisy norm, so that a limit of 1 is an ordinary norm."""
_WHOLE = ("clip_global_norm(median)", "zclip()")
_AFTER = ("shrink(rational) after momentum",)
LAYERWISE = {"LayerwiseLR(every=1)": 1, "LayerwiseLR(every=8)": 8}
"""Steps between measurements; arms of Muon only, where the rates are the remedy."""


@dataclass(frozen=True)
class Problem:
    """A loss with minimum zero, for many copies at once.

    Attributes:
        name: of the table.
        shapes: of one copy's tensors.
        losses: tensors with the copies along their first axis in, (copies,) out.
        start: of one copy, drawn from a generator.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    losses: Callable[[Sequence[Tensor]], Tensor]
    start: Callable[[torch.Generator], list[Tensor]]


def least_squares() -> Problem:
    """Return ½ mean h (w − w*)² over a 16 × 24 matrix, curvatures h from 1 down to 0.05."""
    shape = (16, 24)
    generator = torch.Generator().manual_seed(7)
    target = torch.randn(shape, generator=generator)
    curvature = torch.logspace(0.0, math.log10(0.05), 16 * 24).view(shape)

    def losses(tensors: Sequence[Tensor]) -> Tensor:
        return 0.5 * (curvature * (tensors[0] - target).square()).mean(dim=(1, 2))

    return Problem("least squares", (shape,), losses, lambda generator: [torch.zeros(shape)])


def four_matrices() -> Problem:
    """Return the mean of four such losses, each over a 12 × 16 matrix of its own."""
    shape = (12, 16)
    generator = torch.Generator().manual_seed(9)
    targets = [torch.randn(shape, generator=generator) for _ in range(4)]
    curvature = torch.logspace(0.0, math.log10(0.05), 12 * 16).view(shape)

    def losses(tensors: Sequence[Tensor]) -> Tensor:
        each = [(curvature * (x - y).square()).mean(dim=(1, 2)) for x, y in zip(tensors, targets, strict=True)]
        return 0.5 * torch.stack(each).mean(dim=0)

    return Problem("four matrices", (shape,) * 4, losses, lambda generator: [torch.zeros(shape) for _ in targets])


def network() -> Problem:
    """Return the error of an 8–16–1 tanh network on 128 points labelled by a network of that shape."""
    shapes = ((16, 8), (16,), (1, 16))
    generator = torch.Generator().manual_seed(8)
    points = torch.randn(128, 8, generator=generator)

    def outputs(tensors: Sequence[Tensor]) -> Tensor:
        first, bias, last = tensors
        return torch.tanh(points @ first.mT + bias.unsqueeze(1)) @ last.mT

    def start(generator: torch.Generator) -> list[Tensor]:
        return [torch.randn(s, generator=generator) * (s[-1] ** -0.5 if len(s) > 1 else 0.1) for s in shapes]

    teacher = outputs([x.unsqueeze(0) for x in start(generator)])

    def losses(tensors: Sequence[Tensor]) -> Tensor:
        return 0.5 * (outputs(tensors) - teacher).square().mean(dim=(1, 2))

    return Problem("network", shapes, losses, start)


def planted(noise: str, grads: Sequence[Tensor], units: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    """Return noisy gradients of all seeds: Gaussian noise in each, and on top of it what the name says.

    Its standard deviations are lognormal over entries (0.5 in log), except where the name says that they are equal.

    Args:
        noise: one of NOISES or LAYERS.
        grads: exact, (rates, seeds, …); every rate of a seed gets the same noise.
        units: standard deviation of the Gaussian noise of each tensor.
        generator: of this step's noise.
    """
    seeds = grads[0].shape[1]
    spike = torch.where(torch.rand(seeds, generator=generator) < 1.0 / 20.0, _SPIKE, 1.0)
    found: list[Tensor] = []
    for place, (grad, unit) in enumerate(zip(grads, units, strict=True)):
        shape = grad.shape[1:]
        spread = 0.0 if noise == "equal gaussian" else 0.5
        scales = unit * torch.exp(spread * torch.randn(shape[1:], generator=torch.Generator().manual_seed(3)))
        extra = scales * torch.randn(shape, generator=generator)
        if noise == "cauchy":
            hit = torch.rand(shape, generator=generator) < _SHARE
            extra = extra + hit * _LOUD * scales * torch.empty(shape).cauchy_(generator=generator)
        if noise == "spiky":
            extra = extra * spike.view(-1, *[1] * (len(shape) - 1))
        if noise == "loud layer" and place == 0:
            extra = _LOUD_LAYER * extra
        if noise == "rare rows":
            extra = _FAINT * extra  # what makes rare rows loud is their true gradient
        noisy = grad + extra
        if noise == "rare rows" and len(shape) == 3:
            chance = torch.logspace(0.0, math.log10(_RAREST), shape[1]).view(-1, 1)
            noisy = noisy * (torch.rand((seeds, shape[1], 1), generator=generator) < chance) / chance
        found.append(noisy)
    return found


def trained(problem: Problem, optimizer_name: str, arm: str, noise: str, *, seeds: int, steps: int) -> np.ndarray:
    """Train all seeds at all rates, each falling to zero in a line.

    Returns:
        (rates, seeds) losses over the first one, averaged over the last tenth of the steps.
    """
    rates = RATES[optimizer_name]
    starts = [problem.start(torch.Generator().manual_seed(100 + seed)) for seed in range(seeds)]
    # Parameters and gradients are views into one tensor for all rates and seeds: the loss is computed of them together.
    weights = [
        torch.stack(each).expand(len(rates), *[-1] * (each[0].ndim + 1)).clone() for each in zip(*starts, strict=True)
    ]
    gradients = [torch.zeros_like(x) for x in weights]
    copies = [[[nn.Parameter(x[rate, seed]) for x in weights] for seed in range(seeds)] for rate in range(len(rates))]
    for parameters, gradient in zip(zip(*itertools.chain(*copies), strict=True), gradients, strict=True):
        for parameter, own in zip(parameters, gradient.flatten(0, 1), strict=True):
            parameter.grad = own
    if arm in LAYERWISE:
        optimizers: list[Optimizer] = _layerwise(copies, rates, every=LAYERWISE[arm])
    else:
        optimizers = [_optimizer(optimizer_name, copies, rates, own_momentum=arm not in _AFTER)]
        for name, select in _selections(copies, whole=arm in _WHOLE):
            wrap(optimizers[0], ARMS[arm](optimizers[0]), select=select, name=name)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    first, exact = _losses_and_grads(problem, weights)
    units = [3.0 * grad.square().mean().sqrt().item() for grad in exact]
    last: list[Tensor] = []
    for step in range(steps):
        losses, exact = _losses_and_grads(problem, weights)
        noisy = planted(noise, exact, units, torch.Generator().manual_seed(10_000 + step))
        for gradient, new, unit, shape in zip(gradients, noisy, units, problem.shapes, strict=True):
            torch.div(new, unit * math.sqrt(math.prod(shape)), out=gradient)
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * (1.0 - step / steps)
        for optimizer in optimizers:
            optimizer.step()
        if step >= int(0.9 * steps):
            last.append(losses)
    relative = torch.stack(last).mean(dim=0) / first
    return relative.nan_to_num(nan=_WORST, posinf=_WORST).clamp(max=_WORST).double().numpy()


def _losses_and_grads(problem: Problem, weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return (rates, seeds) losses and the exact gradient of each tensor (rates, seeds, …)."""
    leaves = [x.detach().requires_grad_() for x in weights]
    losses = problem.losses([x.flatten(0, 1) for x in leaves])
    return losses.detach().view(weights[0].shape[:2]), list(torch.autograd.grad(losses.sum(), leaves))


def effect(none: np.ndarray, arm: np.ndarray) -> tuple[float, float, float, int, float]:
    """Return the paired ratio of losses to none with a 95% interval, the arm's rate, and the share that diverged.

    Args:
        none: (rates, seeds) final over first losses without a remedy.
        arm: the same with one.
    """
    chosen = [int(np.argmin(np.log(x[:, :TUNING]).mean(axis=1))) for x in (none, arm)]
    apart = np.log(arm[chosen[1], TUNING:]) - np.log(none[chosen[0], TUNING:])
    error = float(stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart)))
    middle = float(apart.mean())
    diverged = float((arm[chosen[1], TUNING:] > 1.0).mean())
    return math.exp(middle), math.exp(middle - error), math.exp(middle + error), chosen[1], diverged


def _optimizer(name: str, copies: Copies, rates: Sequence[float], *, own_momentum: bool) -> Optimizer:
    sums = 10.0 if name == "SGD" and not own_momentum else 1.0  # SGD's momentum is a sum, the transform an average
    groups = [
        {"params": [p for copy in row for p in copy], "lr": sums * rate}
        for row, rate in zip(copies, rates, strict=True)
    ]
    decay = 0.9 if own_momentum else 0.0
    if name == "SGD":
        return torch.optim.SGD(groups, momentum=decay)
    if name == "Muon":
        return torch.optim.Muon(groups, momentum=decay, nesterov=own_momentum, weight_decay=0.0)
    return torch.optim.AdamW(groups, betas=(decay, 0.99), weight_decay=0.0, foreach=True)


def _layerwise(copies: Copies, rates: Sequence[float], *, every: int) -> list[Optimizer]:
    """Make an optimizer for each copy: layers are compared with those of their own model."""
    settings = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
    return [
        LayerwiseLR([{"params": copy, "geometry": Geometry.SPECTRAL, **settings}], lr=rate, every=every)
        for rate, row in zip(rates, copies, strict=True)
        for copy in row
    ]


def _selections(copies: Copies, *, whole: bool) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Yield what one wrap works on: every tensor of every copy, or, for rules over a whole model, each copy."""
    if not whole:
        yield "all", [p for row in copies for copy in row for p in copy]
        return
    for rate, row in enumerate(copies):
        for seed, copy in enumerate(row):
            yield f"{rate}:{seed}", copy


def main() -> None:
    """Run every problem, optimizer, noise and arm, and write the table."""
    options = _options()
    torch.set_num_threads(1)
    # What is there so far is written as it comes, so that a long run can be read while it goes on.
    rows = [] if options.optimizer is None else _others(options.optimizer)
    for problem, name, noise in _cases():
        if options.optimizer not in (None, name):
            continue
        arms = _arms_for(problem, name)
        found = {arm: trained(problem, name, arm, noise, seeds=options.seeds, steps=options.steps) for arm in arms}
        for arm, losses in found.items():
            ratio, low, high, rate, diverged = effect(found["none"], losses)
            told = (None, None, None) if arm == "none" else (ratio, low, high)
            rows.append((problem.name, name, noise, arm, f"{RATES[name][rate]:g}", *told, diverged))
        _publish(rows, options)


def _cases() -> Iterator[tuple[Problem, str, str]]:
    yield from itertools.product((least_squares(), network()), ("SGD", "AdamW"), NOISES)
    yield from itertools.product((least_squares(),), ("Muon",), NOISES)
    yield from itertools.product((four_matrices(),), ("Muon",), LAYERS)


def _arms_for(problem: Problem, name: str) -> list[str]:
    if problem.name == "four matrices":
        return ["none", *LAYERWISE]
    # Of a single tensor the global norm is the tensor's.
    return [arm for arm in ARMS if len(problem.shapes) > 1 or arm not in _WHOLE]


def _others(optimizer: str) -> list[tuple[Cell, ...]]:
    """Return the rows of the table that stands which are of other optimizers."""
    held = json.loads((RESULTS / "remedy_effects.json").read_text(encoding="utf-8"))["table"]
    return [tuple(row[column] for column in COLUMNS) for row in held if row["optimizer"] != optimizer]


def _publish(rows: Sequence[tuple[Cell, ...]], options: argparse.Namespace) -> None:
    publish(
        "remedy_effects",
        notes=[
            "loss: final loss over that of none, geometric mean over held-out seeds, 95% interval; below 1 is better.",
            "Every arm at its own best rate of the grid. diverged: share of seeds that end above their first loss.",
        ],
        settings={"seeds": options.seeds, "steps": options.steps},
        columns=COLUMNS,
        rows=rows,
        save=not options.quick,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=16, help=f"the first {TUNING} choose the rate, the others are reported"
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--optimizer", choices=list(RATES), help="this one alone; the rows of the others stay")
    parser.add_argument("--quick", action="store_true", help="8 seeds, 30 steps; writes no results")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.steps = 8, 30
    return options


if __name__ == "__main__":
    main()
