"""The obvious draw: a backward pass per example, each example's gradient measured as it passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.draw import Draw
from gnoise.collect.layers import Parameter
from gnoise.collect.per_example.graph import graph_of
from gnoise.collect.per_example.loop import norm
from gnoise.collect.per_example.surroundings import run_eagerly
from gnoise.collect.workload import Batch, Workload, example_of, examples_in
from gnoise.errors import UserError, unreadable


class OneByOne:
    """Hooks on the parameters of a workload; leaves nothing behind when closed.

    A tensor hook sees each backward pass's own increment before it is added to ``.grad``, tied uses
    summed, so per-example norms cost one reduction and no memory, whatever the layers are.

    Args:
        workload: what to differentiate.
        parameters: which tensors to measure.
    """

    def __init__(self, workload: Workload, parameters: Sequence[Parameter]) -> None:
        self._workload = workload
        self._parameters = parameters
        self._sq_norms_LE = torch.zeros(0, 0)
        self._example: int | None = None
        self._fired: set[int] = set()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keep the hooks on for the length of a ``with`` block."""
        handles = [p.tensor.register_hook(self._hook(row)) for row, p in enumerate(self._parameters)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def draw(self, batch: Batch) -> Draw:
        """Add one draw's gradient up in ``.grad``, which must be empty."""
        examples = examples_in(batch)
        device = self._parameters[0].tensor.device
        self._sq_norms_LE = torch.zeros(len(self._parameters), examples, dtype=torch.float64, device=device)
        losses = torch.zeros(examples, device=device)
        try:
            for example in range(examples):
                self._example = example
                losses[example] = self.differentiate(example_of(batch, example))
        finally:
            self._example = None
        for parameter in self._parameters:
            if parameter.tensor.grad is None:  # not reached by the loss: its gradient is zero
                parameter.tensor.grad = torch.zeros_like(parameter.tensor)
            parameter.tensor.grad /= examples
        return Draw(
            example_sq_norms=self._sq_norms_LE.numpy(force=True).astype(np.float64),
            losses=losses.numpy(force=True).astype(np.float64),
        )

    def rounding(self, batch: Batch) -> float:
        """Find the unit of the coarsest numbers that a batch's gradient is computed with, autocast or not."""
        with said_clearly(), run_eagerly():
            return graph_of(self._workload.loss(self._workload.module, example_of(batch, 0))).rounding

    def differentiate(self, batch: Batch) -> Tensor:
        """Add a batch's gradient to ``.grad`` and return its loss."""
        self._fired.clear()
        with said_clearly():
            loss = self._workload.loss(self._workload.module, batch)
            if loss.ndim != 0 or not loss.requires_grad:
                raise unreadable(
                    f"expected the loss to be a scalar with a gradient, got shape {tuple(loss.shape)} and "
                    f"requires_grad={loss.requires_grad}; try --loss module:function returning the mean loss"
                )
            loss.backward()
        return loss.detach()

    def _hook(self, row: int):
        def measure(grad: Tensor) -> None:
            if self._example is None:
                return
            if row in self._fired:
                raise unreadable(
                    f"expected one gradient of {self._parameters[row].layer.name} a backward pass, got it in parts, as "
                    "reentrant activation checkpointing gives it; try use_reentrant=False"
                )
            self._fired.add(row)
            self._sq_norms_LE[row, self._example] = norm(grad.detach()).double().square()

        return measure


@contextmanager
def said_clearly() -> Iterator[None]:
    """Turn whatever the user's own model and loss raise into one clear error.

    Raises:
        UserError: anything went wrong but memory.
        torch.OutOfMemoryError: memory, also where torch raises something less specific on a CPU.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the model's and the loss's own code may raise anything
        if "memory" in str(error) and isinstance(error, RuntimeError):
            raise torch.OutOfMemoryError(str(error)) from error
        said = (str(error).splitlines() or [""])[0]
        raise unreadable(
            f"expected a loss and its gradient from this model and batch, got {type(error).__name__}: {said}; "
            "try --debug to see where, or another --data or --loss"
        ) from error
