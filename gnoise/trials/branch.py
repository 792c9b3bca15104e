"""One training: from the checkpoint, with one arm, over one order of the data."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, pstdev
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.collect.draws import prepare
from gnoise.collect.workload import Batch, Workload, move
from gnoise.data.batches import examples_in
from gnoise.records import JsonValue, Status
from gnoise.remedies import apply
from gnoise.trial_records import TrialCurve
from gnoise.trials.arms import Arm
from gnoise.trials.held_out import Examples
from gnoise.trials.optimizers import goes_on, make_optimizer

_WARM_UP = 0.1
_BEFORE = 32
_STANDS_OUT = 6.0
_RISEN = 3.0

OnStep = Callable[[int, int, float | None], None]
"""(steps done, steps in all, held-out loss where it was looked at)."""


@dataclass(frozen=True)
class Branch:
    """Everything that is the same for all trainings of a trial.

    Attributes:
        workload: module, loss and training data.
        examples: to train on and to judge by.
        weights: the checkpoint's.
        optimizer: its settings.
        with_state: whether its state goes with every arm that goes on from it.
        batch_size: examples of a step.
        steps: of an arm without more.
        evaluate_every: steps between looks at the held-out examples.
    """

    workload: Workload
    examples: Examples
    weights: dict[str, Tensor]
    optimizer: dict[str, JsonValue]
    with_state: bool
    batch_size: int
    steps: int
    evaluate_every: int

    def train(self, arm: Arm, *, seed: int, lr: float, on_step: OnStep, name: str | None = None) -> TrialCurve:
        """Train one arm from the checkpoint's weights; what goes wrong ends it with a status.

        The rate falls in a straight line to zero over the arm's own steps, so that no arm gains by calming the noise
        a constant rate leaves. Without an optimizer state to go on from it first rises over a tenth of them.

        Args:
            arm: what it changes.
            seed: of data order and dropout: one seed is the same training in every other respect.
            lr: peak learning rate.
            on_step: called after every step.
            name: of the curve, in place of the arm's.

        Raises:
            UserError: the arm's recommendations do not fit this model.
        """
        module = self.workload.module
        module.load_state_dict(self.weights)
        torch.manual_seed(seed)
        optimizer, warm_up = self._optimizer(arm, lr)
        training = _Training(self, arm, optimizer, seed=seed, warm_up=warm_up)
        status = Status.OK
        try:
            status = training.run(on_step)
        except RuntimeError as error:  # torch raises nothing narrower, out of memory on a CPU included
            status = Status.OUT_OF_MEMORY if "memory" in str(error) else Status.FAILED
        module.zero_grad(set_to_none=True)
        return TrialCurve(
            arm=name or arm.name,
            seed=seed,
            learning_rate=lr,
            examples=tuple(training.seen),
            loss=tuple(training.losses),
            spikes=training.spikes,
            seconds=training.seconds,
            status=status,
        )

    @cached_property
    def loss_before(self) -> float:
        """Held-out loss of the checkpoint, where all trainings start: first asked for while its weights are in."""
        return self.held_out_loss()

    def held_out_loss(self) -> float:
        """Compute the mean loss over the held-out examples, dropout off."""
        module, total, count = self.workload.module, 0.0, 0
        training = module.training
        module.eval()
        device = next(module.parameters()).device
        with torch.no_grad():
            for batch in self.examples.held_out:
                size = examples_in(batch)
                total += float(self.workload.loss(module, move(batch, device))) * size
                count += size
        prepare(module, train=training)
        return total / count

    def _optimizer(self, arm: Arm, lr: float) -> tuple[Optimizer, bool]:
        module = self.workload.module
        resumed = self.with_state and goes_on(arm.optimizer, self.optimizer)
        state = self.workload.optimizer_state if resumed else {}
        steps = self.workload.optimizer_steps
        optimizer = make_optimizer(module, arm.optimizer, self.optimizer, lr=lr, state=state, steps=steps)
        if arm.document is not None:
            apply(arm.document, module, optimizer)
        return optimizer, not resumed


class _Training:
    """The loop of one training, with what it has seen so far."""

    def __init__(self, branch: Branch, arm: Arm, optimizer: Optimizer, *, seed: int, warm_up: bool) -> None:
        self.seen: list[int] = []
        self.losses: list[float] = []
        self.spikes = 0
        self.seconds = 0.0
        self._branch, self._optimizer = branch, optimizer
        self._steps = max(1, round(branch.steps * arm.steps))
        self._rising = max(1, round(_WARM_UP * self._steps)) if warm_up else 0
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self._stream = _batches(branch, branch.batch_size * arm.batches, seed)
        self._per_step = branch.batch_size * arm.batches
        self._recent: deque[float] = deque(maxlen=_BEFORE)

    def run(self, on_step: OnStep) -> Status:
        self._look(0)
        for step in range(self._steps):
            started = perf_counter()
            loss = self._step(step)
            self.seconds += perf_counter() - started
            if not math.isfinite(loss):
                return Status.DIVERGED
            done = step + 1
            looked = done == self._steps or (
                done % self._branch.evaluate_every == 0 and self._steps - done > self._branch.evaluate_every // 2
            )
            if looked and not self._look(done):
                return Status.DIVERGED
            on_step(done, self._steps, self.losses[-1] if looked else None)
        return Status.OK

    def _look(self, step: int) -> bool:
        """Note the held-out loss; tell whether it is still one of a training that holds."""
        loss = self._branch.held_out_loss() if step else self._branch.loss_before
        if not math.isfinite(loss):
            return False
        self.seen.append(step * self._per_step)
        self.losses.append(loss)
        return loss <= _RISEN * (self.losses[0] + 1.0)

    def _step(self, step: int) -> float:
        share = (1.0 - step / self._steps) * min(1.0, (step + 1) / self._rising if self._rising else 1.0)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._branch.workload.loss(self._branch.workload.module, next(self._stream))
        loss.backward()
        value = float(loss.detach())
        if math.isfinite(value):
            self._optimizer.step()
            self._count_spike(value)
        return value

    def _count_spike(self, loss: float) -> None:
        if len(self._recent) == _BEFORE:
            self.spikes += loss > fmean(self._recent) + _STANDS_OUT * pstdev(self._recent)
        self._recent.append(loss)


def _batches(branch: Branch, size: int, seed: int) -> Iterator[Batch]:
    device = next(branch.workload.module.parameters()).device
    return (move(batch, device) for batch, _ in branch.examples.train(size, seed))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copy all that a module's ``state_dict`` holds.

    Args:
        module: whose.
    """
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
