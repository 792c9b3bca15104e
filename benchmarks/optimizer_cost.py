"""What LayerwiseLR's step costs beside torch's own Muon and AdamW, in turns, at GPT-2's shapes.

The same parameters and gradients for all; no model runs and nothing is learnt (learning rates of zero). Three kinds of
step are timed: an ordinary one, the one that keeps the gradients, and the one after, which measures; the ratio is
of their average over `every` steps. On a CPU the clock is the process's own. Meant for a GPU: on a CPU that has no
bfloat16 units a step of Muon over twelve blocks takes a quarter of an hour; `--layers 1 --width 256` fits.
"""

import argparse
import fnmatch
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from report import RESULTS, Cell, publish
from torch import nn
from torch.optim import Optimizer

from gnoise.models.gpt import GPT, GPTConfig
from gnoise.remedies import LayerwiseLR, Role, param_groups_for, roles_of

BAR = 1.05
"""Wanted of LayerwiseLR against torch's Muon."""
SMALL = GPTConfig(block_size=64, vocab_size=512, n_layer=1, n_head=4, n_embd=144)
PHASES = ("ordinary", "keeping", "measuring")
_TIMES = tuple(f"{phase} ms" for phase in PHASES)
COLUMNS = ("blocks", "optimizer", "bare ms", *_TIMES, "ratio", "lowest", "highest", "rounds")


def main() -> None:
    """Time every optimizer and write the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = GPTConfig(n_layer=options.layers, n_embd=options.width, n_head=options.width // 64)
    model = GPT(SMALL if options.quick else shape).to(device)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    arms = {name: arm for name, arm in _arms(model).items() if fnmatch.fnmatchcase(name, options.only)}
    bare, size = _bare(model), _size(model)
    rows: list[tuple[Cell, ...]] = []
    for name, optimizer in arms.items():
        times = _row(name, bare, optimizer, device, rounds=options.rounds, warm_up=options.warm_up)
        rows.append((size, *times, options.rounds))
        print(*rows[-1], flush=True)
    where = device.type if device.type == "cpu" else torch.cuda.get_device_name()
    publish(
        _table_name(device),
        notes=[
            f"Float32 on {where}; {model.config.vocab_size} tokens.",
            "bare is torch.optim.Muon for hidden matrices and torch.optim.AdamW for the rest; medians over rounds, one "
            "after the other.",
            f"ratio: average over a cycle of `every` steps / bare, the median over rounds. The bar is {BAR}.",
        ],
        settings={"threads": options.threads},
        columns=COLUMNS,
        rows=[*_held({row[:2] for row in rows}, _table_name(device)), *rows],
        save=not options.quick,
    )


def _size(model: GPT) -> str:
    config, numel = model.config, sum(p.numel() for p in model.parameters())
    return f"{config.n_layer} × {config.n_embd} wide, {numel / 1e6:.1f} M"


def _table_name(device: torch.device) -> str:
    return "optimizer_cost" if device.type == "cpu" else "optimizer_cost_gpu"


def _held(anew: set[tuple[Cell, ...]], table: str) -> list[tuple[Cell, ...]]:
    """Return the rows of the table that stands which are not measured anew."""
    path = RESULTS / f"{table}.json"
    held = json.loads(path.read_text(encoding="utf-8"))["table"] if path.exists() else []
    rows = [tuple(row[column] for column in COLUMNS) for row in held]
    return [row for row in rows if row[:2] not in anew]


def _arms(model: nn.Module) -> dict[str, LayerwiseLR]:
    mixed = param_groups_for(model, others="adamw")
    still = partial(LayerwiseLR, lr=0.0, other_lr=0.0, nesterov=True)
    return {
        "neutral (reference=inf), AdamW for the rest": still(mixed, reference=torch.inf),
        "measuring, AdamW for the rest": still(mixed),
        "measuring, sign and RMS for the rest": still(param_groups_for(model)),
    }


def _bare(model: nn.Module) -> Sequence[Optimizer]:
    parameters = dict(model.named_parameters())
    roles = roles_of(model)
    hidden = [parameters[name] for name, role in roles.items() if role is Role.HIDDEN]
    rest = [parameters[name] for name, role in roles.items() if role is not Role.HIDDEN]
    return torch.optim.Muon(hidden, lr=0.0), torch.optim.AdamW(rest, lr=0.0)


def _row(
    name: str, bare: Sequence[Optimizer], ours: LayerwiseLR, device: torch.device, *, rounds: int, warm_up: int
) -> tuple[Cell, ...]:
    every = ours.param_groups[0]["every"]
    measures = any(group["reference"] != torch.inf for group in ours.param_groups)
    # What measures nothing has one kind of step only.
    kinds = dict(zip(PHASES, (every // 2, 0, 1), strict=True)) if measures else {PHASES[0]: every // 2}
    ratios: list[float] = []
    times: dict[str, list[float]] = {key: [] for key in ("bare", *PHASES)}
    for number in range(-warm_up, rounds):  # the first round makes states and warms allocators
        once = {"bare": _timed(lambda: [optimizer.step() for optimizer in bare], device)}
        for phase, steps in kinds.items():
            for group in ours.param_groups:
                group["steps"] = steps
            once[phase] = _timed(ours.step, device)
        if number >= 0:
            ratios.append(_cycle(once, every) / once["bare"])
            for key, seconds in once.items():
                times[key].append(1e3 * seconds)
    medians = [statistics.median(values) if values else None for values in times.values()]
    return name, *medians, statistics.median(ratios), min(ratios), max(ratios)


def _cycle(once: dict[str, float], every: int) -> float:
    """Return seconds a step over a cycle of `every`."""
    ordinary = once["ordinary"]
    rest = [once.get(phase, ordinary) for phase in PHASES[1:]]
    return ((every - len(rest)) * ordinary + sum(rest)) / every


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
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before those that count")
    parser.add_argument("--layers", type=int, default=12, help="blocks of the model")
    parser.add_argument("--width", type=int, default=768, help="of the model, a multiple of 64")
    parser.add_argument("--only", default="*", help="shell pattern of optimizers to measure; other rows stay")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 1 keeps CPU time comparable")
    parser.add_argument("--quick", action="store_true", help="0.3 M parameters instead of 124 M; writes no results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
