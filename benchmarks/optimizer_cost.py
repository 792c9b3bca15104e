"""What LayerwiseLR's step costs beside torch's own Muon and AdamW, in turns, at GPT-2's shapes.

The same parameters and gradients for all; no model runs and nothing is learnt (learning rates of zero). Three kinds of
step are timed: an ordinary one, the one that keeps the gradients, and the one after, which measures; the ratio is
of their average over `every` steps. On a CPU the clock is the process's own. Meant for a GPU: on a CPU that has no
bfloat16 units a step of Muon at the full size takes many minutes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from report import Cell, publish
from torch import nn
from torch.optim import Optimizer

from gnoise.models.gpt import GPT, GPTConfig
from gnoise.remedies import LayerwiseLR, Role, param_groups_for, roles_of

BAR = 1.05
"""Wanted of LayerwiseLR against torch's Muon."""
SMALL = GPTConfig(block_size=64, vocab_size=512, n_layer=1, n_head=4, n_embd=144)
PHASES = ("ordinary", "keeping", "measuring")


def main() -> None:
    """Time every optimizer and write the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = GPT(SMALL if options.quick else GPTConfig()).to(device)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    arms = _arms(model)
    bare = _bare(model)
    rows: list[tuple[Cell, ...]] = []
    for name, optimizer in arms.items():
        rows.append(_row(name, bare, optimizer, device, options.rounds))
        print(*rows[-1])
    numel = sum(p.numel() for p in model.parameters())
    publish(
        "optimizer_cost",
        notes=[
            f"{numel / 1e6:.1f} M float32 parameters on {device.type}; bare is torch.optim.Muon for hidden matrices "
            "and torch.optim.AdamW for the rest; medians over rounds, one after the other.",
            f"ratio: average over a cycle of `every` steps / bare, the median over rounds. The bar is {BAR}.",
        ],
        settings={"rounds": options.rounds, "parameters": numel, "threads": options.threads},
        columns=("optimizer", "bare ms", *(f"{phase} ms" for phase in PHASES), "ratio", "lowest", "highest"),
        rows=rows,
        save=not options.quick,
    )


def _arms(model: nn.Module) -> dict[str, LayerwiseLR]:
    mixed = param_groups_for(model, others="adamw")
    still = {"lr": 0.0, "other_lr": 0.0, "nesterov": True}
    return {
        "neutral (reference=inf), AdamW for the rest": LayerwiseLR(mixed, reference=torch.inf, **still),
        "measuring, AdamW for the rest": LayerwiseLR(mixed, **still),
        "measuring, sign and RMS for the rest": LayerwiseLR(param_groups_for(model), **still),
    }


def _bare(model: nn.Module) -> Sequence[Optimizer]:
    parameters = dict(model.named_parameters())
    roles = roles_of(model)
    hidden = [parameters[name] for name, role in roles.items() if role is Role.HIDDEN]
    rest = [parameters[name] for name, role in roles.items() if role is not Role.HIDDEN]
    return torch.optim.Muon(hidden, lr=0.0), torch.optim.AdamW(rest, lr=0.0)


def _row(
    name: str, bare: Sequence[Optimizer], ours: LayerwiseLR, device: torch.device, rounds: int
) -> tuple[Cell, ...]:
    every = ours.param_groups[0]["every"]
    ratios: list[float] = []
    times: dict[str, list[float]] = {"bare": [], **{phase: [] for phase in PHASES}}
    for number in range(rounds + 1):  # the first round makes states and warms allocators
        once = {"bare": _timed(lambda: [optimizer.step() for optimizer in bare], device)}
        for phase, steps in zip(PHASES, (every // 2, 0, 1), strict=True):
            for group in ours.param_groups:
                group["steps"] = steps
            once[phase] = _timed(ours.step, device)
        if number:
            cycle = (every - 2) * once["ordinary"] + once["keeping"] + once["measuring"]
            ratios.append(cycle / every / once["bare"])
            for key, seconds in once.items():
                times[key].append(1e3 * seconds)
    medians = [statistics.median(values) for values in times.values()]
    return name, *medians, statistics.median(ratios), min(ratios), max(ratios)


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
    parser.add_argument("--rounds", type=int, default=7, help="times each kind of step is taken")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 1 keeps CPU time comparable")
    parser.add_argument("--quick", action="store_true", help="0.3 M parameters instead of 124 M; writes no results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
