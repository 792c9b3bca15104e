"""The obvious draw: a backward pass per example, each example's gradient measured as it passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from gnoise.collect.draw import Draw
from gnoise.collect.layers import Parameter
from gnoise.collect.per_example.graph import graph_of
from gnoise.collect.per_example.loop import dense, norm
from gnoise.collect.per_example.rounding import terms_of
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
        sums = [_Sum(p.tensor) for p in self._parameters]
        try:
            for example in range(examples):
                self._example = example
                losses[example] = self.differentiate(example_of(batch, example))
                for total in sums:
                    total.take()
        finally:
            self._example = None
        for total in sums:
            total.leave_mean(examples)
        return Draw(
            example_sq_norms=self._sq_norms_LE.numpy(force=True).astype(np.float64),
            losses=losses.numpy(force=True).astype(np.float64),
        )

    def precision(self, batch: Batch) -> tuple[float, dict[str, float]]:
        """Find how a batch's gradient, which is added to ``.grad``, is rounded, autocast or not.

        Returns:
            the unit of the coarsest numbers it is computed with, and norms of what each layer's gradient is a sum of.
        """
        tensors = {p.layer.name: p.tensor for p in self._parameters}
        with said_clearly(), run_eagerly():
            loss = self._workload.loss(self._workload.module, batch)
            graph = graph_of(loss)
            with terms_of(graph, tensors) as terms:
                loss.backward()
        return graph.rounding, terms

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
        for parameter in self._parameters:
            if parameter.tensor.grad is not None:  # sparse where an embedding makes it so
                parameter.tensor.grad = dense(parameter.tensor.grad, parameter.tensor)
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
            self._sq_norms_LE[row, self._example] = norm(dense(grad.detach(), grad)).double().square()

        return measure


class _Sum:
    """Adds one tensor's gradients up: in ``.grad`` by autograd itself, in float32 beside it where ``.grad`` is coarser.

    Args:
        tensor: whose ``.grad`` is empty.
    """

    def __init__(self, tensor: Tensor) -> None:
        wide = torch.promote_types(tensor.dtype, torch.float32)
        self._tensor = tensor
        self._total = None if tensor.dtype == wide else torch.zeros_like(tensor, dtype=wide)

    def take(self) -> None:
        """Count what the last backward pass left in ``.grad``."""
        if self._total is not None and self._tensor.grad is not None:
            self._total += self._tensor.grad
            self._tensor.grad = None

    def leave_mean(self, examples: int) -> None:
        """Leave the mean in ``.grad``; zeros where the loss does not reach."""
        tensor = self._tensor
        if self._total is not None:
            tensor.grad = (self._total / examples).to(tensor.dtype)
        elif tensor.grad is None:
            tensor.grad = torch.zeros_like(tensor)
        else:
            tensor.grad /= examples


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
