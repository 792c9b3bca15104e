"""How `papers.py` trains: one problem, one arm, one seed; what has ended stays on disk.

Run alone it does nothing. Trainings of one seed share first weights, order of the data and all chance: they are pairs.
The learning rate rises over a tenth of the steps, unless an optimizer's state is gone on from, and then falls in a
straight line to zero, so that no arm gains by calming the noise that a constant rate leaves.
"""

import copy
import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.remedies import LayerwiseLR, param_groups_for
from gnoise.trials.optimizers import make_optimizer, settings_of

ADAMW, ADAM, MUON, LAYERWISE, LANTON = "AdamW", "Adam", "muon", "layerwise on muon", "layerwise_lr"
"""Adam's decay is added to the gradient, AdamW's is not; LANTON steps embeddings and vectors in own geometries."""
_RISING = 0.1
_MEASURE_EVERY = 4
_GROWING_SEED = 99

Batch = tuple[Tensor, ...]
State = Mapping[str, Mapping[str, Tensor]]
Remedy = Callable[[nn.Module, Optimizer, float], None]
"""Wraps itself around the optimizer of a module, with one number to set."""


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes:
        batch_size: examples of a step.
        make: seed to the module at its start.
        loss: (module, batch) to what is minimised.
        batches: seed to an endless stream.
        held_out: module to the loss that is judged by.
        state: of Adam or AdamW to go on from, by parameter name; empty to start afresh.
        loss_scale: multiplies the loss before the backward pass and divides the gradients after it; steps with a
            gradient that is not finite are then left out, as a gradient scaler does.
    """

    batch_size: int
    make: Callable[[int], nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    batches: Callable[[int], Iterator[Batch]]
    held_out: Callable[[nn.Module], float]
    state: Callable[[], State] = dict
    loss_scale: float = 1.0


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: of the table.
        optimizer: one of the five above.
        remedy: ``None`` for none.
        settings: numbers to choose the remedy's from.
        note: what the name does not say.
    """

    name: str
    optimizer: str = ADAMW
    remedy: Remedy | None = None
    settings: tuple[float, ...] = (0.0,)
    note: str = ""


@dataclass(frozen=True)
class Key:
    """Which training of a study."""

    arm: str
    seed: int
    rate: float
    decay: float
    setting: float
    steps: int


@dataclass(frozen=True)
class Ended:
    """What came of it: held-out loss before and after, infinite where it diverged, and seconds of training."""

    before: float
    after: float
    seconds: float


class Kept:
    """The trainings of one study, a line of JSON each, in the order they ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended: dict[Key, Ended] = {}
        if path.exists():
            text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # a line that an interruption cut short is trained again
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            for line in whole.splitlines():
                row = json.loads(line)
                self._ended[Key(**row["key"])] = Ended(
                    **{k: math.inf if v is None else v for k, v in row["ended"].items()}
                )

    def find(self, key: Key) -> Ended | None:
        """Return what came of a training; ``None`` where it has not been done."""
        return self._ended.get(key)

    def add(self, key: Key, ended: Ended) -> None:
        """Keep a training."""
        self._ended[key] = ended
        numbers = {name: value if math.isfinite(value) else None for name, value in asdict(ended).items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": asdict(key), "ended": numbers}, allow_nan=False) + "\n")


def train(problem: Problem, arm: Arm, key: Key) -> Ended:
    """Train once.

    Args:
        problem: what.
        arm: how.
        key: with which seed and settings; ``steps`` are the arm's own.
    """
    module = problem.make(key.seed)
    state = problem.state() if arm.optimizer in (ADAM, ADAMW) else {}
    optimizer = _optimizer(module, arm.optimizer, rate=key.rate, decay=key.decay, state=state)
    if arm.remedy is not None:
        arm.remedy(module, optimizer, key.setting)
    before, started = problem.held_out(module), time.process_time()
    finite = _run(problem, module, optimizer, key, key.steps, rising=1 if state else _rise(key))
    seconds = time.process_time() - started
    after = problem.held_out(module) if finite else math.inf
    return Ended(before, after if math.isfinite(after) else math.inf, seconds)


def half_way(problem: Problem, kind: str, steps: int, rate: float, decay: float = 0.1) -> Problem:
    """Return what is trained as it stands at the middle of a training without a remedy.

    Args:
        problem: its start.
        kind: of optimizer. The state of Adam or AdamW is handed on, that of others is not.
        steps: to the middle of a training twice as long.
        rate: highest, after the first tenth.
        decay: of weights.
    """

    @functools.cache
    def middle() -> tuple[nn.Module, Optimizer]:
        module = problem.make(_GROWING_SEED)
        optimizer = _optimizer(module, kind, rate=rate, decay=decay, state={})
        key = Key("", _GROWING_SEED, rate, decay, 0.0, 2 * steps)
        if not _run(problem, module, optimizer, key, steps, rising=_rise(key)):
            raise SystemExit(f"expected a training to its middle at a rate of {rate:g}, got one that diverged")
        return module, optimizer

    def state() -> State:
        module, optimizer = middle()
        return {name: optimizer.state[x] for name, x in module.named_parameters() if x in optimizer.state}

    kept = state if kind in (ADAM, ADAMW) else dict
    return replace(problem, make=lambda seed: copy.deepcopy(middle()[0]), state=kept)


def _rise(key: Key) -> int:
    return max(1, round(_RISING * key.steps))


def _run(problem: Problem, module: nn.Module, optimizer: Optimizer, key: Key, until: int, *, rising: int) -> bool:
    """Train for so many of a key's steps; tell whether all losses were finite."""
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    for step, batch in enumerate(islice(problem.batches(key.seed), until)):
        share = (1.0 - step / key.steps) * min(1.0, (step + 1) / rising)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * share
        optimizer.zero_grad(set_to_none=True)
        loss = problem.loss(module, batch)
        (loss * problem.loss_scale).backward()
        if not math.isfinite(loss.item()):
            return False
        if problem.loss_scale == 1.0 or _unscale(module, problem.loss_scale):
            optimizer.step()
    return True


def _unscale(module: nn.Module, scale: float) -> bool:
    """Divide the gradients; tell whether all are finite."""
    grads = [x.grad for x in module.parameters() if x.grad is not None]
    for grad in grads:
        grad.div_(scale)
    return all(bool(grad.isfinite().all()) for grad in grads)


def _optimizer(module: nn.Module, kind: str, *, rate: float, decay: float, state: State) -> Optimizer:
    if kind == LAYERWISE:
        groups = param_groups_for(module, others="adamw")
        return LayerwiseLR(
            groups,
            lr=rate,
            other_lr=rate,
            weight_decay=decay,
            adjust_lr_fn="match_rms_adamw",
            nesterov=True,
            every=_MEASURE_EVERY,
        )
    settings = settings_of({"name": kind if kind in (ADAM, ADAMW) else ADAMW, "weight_decay": decay})
    made = make_optimizer(module, kind if kind in (MUON, LANTON) else "own", settings, lr=rate, state=state)
    if kind == LANTON:
        for group in made.param_groups:
            group["every"] = _MEASURE_EVERY
    return made
