"""A short piece of real training between draws, undone at the end."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from gnoise.collect.layers import Parameter
from gnoise.collect.workload import Batch, Workload, move
from gnoise.errors import UserError
from gnoise.records import JsonValue

_TAKEN = ("", "sgd", "adam", "adamw")
_WARM = 16
"""Steps at a learning rate of zero, which fill the optimizer's moments."""


class Trajectory:
    """Moves the weights by the checkpoint's own optimizer, with no remedy, a few steps between pairs of draws.

    Draws at frozen weights do not see what arises as weights move; draws along a path do. Both draws of a pair are
    taken at the same weights, so that their difference is noise alone. The learning rate falls in a straight line from
    the checkpoint's to zero, as it does in a trial. The weights are put back afterwards. Parameters that are not
    sampled stay where they are. Momentum is not in a run's workload, so that it is filled by steps at a learning rate
    of zero; Adam's v is the checkpoint's where it is known.

    Args:
        workload: its optimizer says name, learning rate and the rest; AdamW where it names none that is known.
        parameters: which tensors are moved.
        steps: in all.
        draws: among whose pairs the steps are spread evenly.
        examples: of a step's batch.
        seed: of the order of data, which is another one than the draws have.

    Raises:
        UserError: the checkpoint has no learning rate, or is of an optimizer that is not one of these.
    """

    def __init__(
        self, workload: Workload, parameters: Sequence[Parameter], *, steps: int, draws: int, examples: int, seed: int
    ) -> None:
        self._workload, self._parameters = workload, parameters
        self._steps, self._draws = steps, draws
        self._optimizer = _optimizer(workload, [parameter.tensor for parameter in parameters]) if steps else None
        self._batches: Iterator[tuple[Batch, object]] = workload.batches(examples, seed + 1) if steps else iter(())

    @contextmanager
    def attached(self, differentiate: Callable[[Batch], object]) -> Iterator[Callable[[int], None]]:
        """Keep the weights and put them back at the end of a ``with`` block.

        Args:
            differentiate: adds a batch's gradient to ``.grad``.

        Returns:
            a function to call before each draw with its place, from 0, which takes the steps that are due.
        """
        optimizer = self._optimizer
        if optimizer is None:
            yield lambda _: None
            return
        kept = [parameter.tensor.detach().clone() for parameter in self._parameters]

        def take(steps: int) -> None:
            for batch, _ in itertools.islice(self._batches, steps):
                optimizer.zero_grad(set_to_none=True)
                differentiate(move(batch, self._parameters[0].tensor.device))
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        try:
            self._warm_up(optimizer, take)
            rates = [float(group["lr"]) for group in optimizer.param_groups]

            def advance(draw: int) -> None:
                pair, second = divmod(draw, 2)
                for step in range(self._due(pair), self._due(pair if second else pair + 1)):
                    for group, rate in zip(optimizer.param_groups, rates, strict=True):
                        group["lr"] = rate * (1.0 - step / self._steps)
                    take(1)

            yield advance
        finally:
            with torch.no_grad():
                for parameter, old in zip(self._parameters, kept, strict=True):
                    parameter.tensor.copy_(old)

    def _due(self, pairs: int) -> int:
        return self._steps * pairs // (self._draws // 2)

    def _warm_up(self, optimizer: Optimizer, take: Callable[[int], None]) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        take(_WARM)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for parameter in self._parameters:
            second = self._workload.second_moments.get(parameter.layer.name)
            state = optimizer.state[parameter.tensor]
            if second is not None and "exp_avg_sq" in state:
                # v is kept bias-corrected; torch divides by 1 - beta_2^step.
                beta = optimizer.param_groups[0]["betas"][1]
                state["exp_avg_sq"].copy_(second.reshape(parameter.tensor.shape) * (1.0 - beta**_WARM))


def _optimizer(workload: Workload, tensors: Sequence[Tensor]) -> Optimizer:
    found = workload.optimizer
    name = str(found.get("name", "")).lower()
    if name not in _TAKEN:
        raise UserError(
            f"expected SGD, Adam or AdamW to take steps with, got a checkpoint of {found['name']}; try without --path"
        )
    rate = _number(found.get("lr"))
    if rate is None:
        raise UserError(
            "expected a checkpoint that holds its learning rate to take steps with, got none; "
            "try without --path, or a checkpoint with its optimizer's state"
        )
    decay = _number(found.get("weight_decay")) or 0.0
    if name == "sgd":
        return SGD(tensors, lr=rate, momentum=_number(found.get("momentum")) or 0.0, weight_decay=decay)
    betas = found.get("betas")
    pair = [_number(beta) for beta in betas] if isinstance(betas, list) else []
    first, second = pair if len(pair) == 2 else (None, None)
    pair = (0.9, 0.999) if first is None or second is None else (first, second)
    return AdamW(tensors, lr=rate, betas=pair, eps=_number(found.get("eps")) or 1e-8, weight_decay=decay)


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
