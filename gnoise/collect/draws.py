"""One draw: a backward pass per example, each example's gradient measured as it passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gnoise.collect.layers import Parameter
from gnoise.collect.workload import Batch, Workload, example_of, examples_in
from gnoise.errors import UserError, unreadable

_RELATIVE_TOLERANCE = 1e-3
_SMALL_LAYER = 1e-3
_BATCH_DEPENDENT = (nn.modules.batchnorm._BatchNorm,)  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Draw:
    """What was seen while a draw's gradient was added up.

    Attributes:
        example_sq_norms: of each layer's one-example gradients.
        losses: of each example.
    """

    example_sq_norms: Float[np.ndarray, "layers examples"]
    losses: Float[np.ndarray, " examples"]

    @property
    def finite(self) -> bool:
        """Whether every loss and every norm is a finite number."""
        return bool(np.isfinite(self.losses).all() and np.isfinite(self.example_sq_norms).all())


class DrawEngine:
    """Hooks on the parameters of a workload; leaves nothing behind when closed.

    A tensor hook sees each backward pass's own increment before it is added to ``.grad``, tied uses
    summed, so per-example norms cost one reduction and no memory.

    Args:
        workload: what to differentiate.
        parameters: which tensors to measure.
    """

    def __init__(self, workload: Workload, parameters: Sequence[Parameter]) -> None:
        self._workload = workload
        self._parameters = parameters
        self._sq_norms_LE = torch.zeros(0, 0)
        self._example: int | None = 0
        self._fired: set[int] = set()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keep the hooks on for the length of a ``with`` block, and drop all gradients at its end."""
        handles = [p.tensor.register_hook(self._hook(row)) for row, p in enumerate(self._parameters)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.clear()

    def clear(self) -> None:
        """Forget the gradients of the last draw."""
        for tensor in self._workload.module.parameters():
            tensor.grad = None

    def draw(self, batch: Batch) -> Draw:
        """Add up one draw's gradient: afterwards ``.grad`` of every parameter is the draw."""
        examples = examples_in(batch)
        device = self._parameters[0].tensor.device
        self._sq_norms_LE = torch.zeros(len(self._parameters), examples, dtype=torch.float64, device=device)
        losses = torch.zeros(examples, device=device)
        self.clear()
        for self._example in range(examples):
            losses[self._example] = self._backward(example_of(batch, self._example))
        for parameter in self._parameters:
            if parameter.tensor.grad is None:  # not reached by the loss: its gradient is zero
                parameter.tensor.grad = torch.zeros_like(parameter.tensor)
            parameter.tensor.grad /= examples
        return Draw(
            example_sq_norms=self._sq_norms_LE.numpy(force=True).astype(np.float64),
            losses=losses.numpy(force=True).astype(np.float64),
        )

    def check(self, batch: Batch) -> None:
        """Compare the sum of one-example gradients with the gradient of the whole batch.

        This catches a loss that sums, a loss whose examples are weighed unequally, and layers which
        mix examples. Dropout is off meanwhile, for both sides.

        Raises:
            UserError: they differ by more than rounding, or the loss is not a scalar with a gradient.
        """
        modes = {child: child.training for child in self._workload.module.modules()}
        self._workload.module.eval()
        try:
            draw = self.draw(batch)
            summed = [_grad(p) for p in self._parameters]
            self.clear()
            self._example = None
            self._backward(batch)
            whole = [torch.zeros_like(p.tensor) if p.tensor.grad is None else _grad(p) for p in self._parameters]
        finally:
            for child, training in modes.items():
                child.training = training
            self.clear()
        floor = _SMALL_LAYER * max(_norm(whole), _norm(summed))
        for parameter, a, b in zip(self._parameters, summed, whole, strict=True):
            tolerance = max(_RELATIVE_TOLERANCE, 8 * torch.finfo(parameter.tensor.dtype).eps)
            if _norm([a - b]) > tolerance * max(_norm([a]), _norm([b]), floor):
                ratio = _norm(whole) / max(_norm(summed), 1e-30)
                raise unreadable(_explain(ratio, len(draw.losses), parameter.layer.name))

    def _backward(self, batch: Batch) -> Tensor:
        """Add a batch's gradient to ``.grad``; what goes wrong in the user's own code is one clear error."""
        self._fired.clear()
        try:
            loss = self._loss(batch)
            loss.backward()
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
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        loss = self._workload.loss(self._workload.module, batch)
        if loss.ndim != 0 or not loss.requires_grad:
            raise unreadable(
                f"expected the loss to be a scalar with a gradient, got shape {tuple(loss.shape)} and "
                f"requires_grad={loss.requires_grad}; try --loss module:function returning the mean loss"
            )
        return loss

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
            norm = torch.linalg.vector_norm(grad.detach(), dtype=_wide(grad))
            self._sq_norms_LE[row, self._example] = norm.double().square()

        return measure


def prepare(module: nn.Module, *, train: bool) -> list[str]:
    """Set train or eval mode; batch normalisation always uses its frozen statistics.

    Returns:
        names of the modules kept in eval mode because a batch of one has no statistics of its own.
    """
    module.train(train)
    frozen = [name for name, child in module.named_modules() if isinstance(child, _BATCH_DEPENDENT)]
    for name in frozen:
        module.get_submodule(name).eval()
    return frozen


def _grad(parameter: Parameter) -> Tensor:
    if parameter.tensor.grad is None:
        raise UserError(f"expected a gradient for {parameter.layer.name}, got none; this is a bug")
    return parameter.tensor.grad.detach().clone()


def _wide(tensor: Tensor) -> torch.dtype:
    """Half precisions are summed in float32, the others in their own."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([torch.linalg.vector_norm(t, dtype=_wide(t)) for t in tensors]).norm())


def _explain(ratio: float, examples: int, layer: str) -> str:
    what = f"the batch's gradient is {ratio:.3g} times the mean of its examples' gradients (they differ in {layer})"
    if abs(ratio / examples - 1) < 0.01:
        return (
            f"expected the mean loss over a batch, but {what}, so the loss is a sum over {examples} examples; "
            "try --loss module:function that divides by the number of examples"
        )
    return (
        f"expected a batch's gradient to be the mean of its examples' gradients, but {what}; layers that mix "
        "examples or a loss that weighs them unequally do this; try --loss module:function with a plain mean"
    )
