"""Draws by the cheaper of two ways; the fast one is used once it has been seen to equal the obvious one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gnoise.collect.draw import Draw
from gnoise.collect.in_one_pass import InOnePass
from gnoise.collect.layers import Parameter
from gnoise.collect.one_by_one import OneByOne
from gnoise.collect.per_example.mixing import BATCH_NORMS, refuse_mixing
from gnoise.collect.per_example.surroundings import eval_mode
from gnoise.collect.self_check import refuse_difference, same_draw, same_losses
from gnoise.collect.workload import Batch, Workload, some_of
from gnoise.errors import UserError

_CHECKED_EXAMPLES = 4


class DrawEngine:
    """Makes draws of a workload; leaves nothing behind when detached.

    In one pass, from when :meth:`check` has seen that it equals one backward pass per example. Where any parameter
    needs a pass per example anyway, that pass gives everything, and draws are made one by one.

    Args:
        workload: what to differentiate.
        parameters: which tensors to measure; the others are not differentiated meanwhile.
    """

    def __init__(self, workload: Workload, parameters: Sequence[Parameter]) -> None:
        self._workload = workload
        self._parameters = parameters
        self._one_by_one = OneByOne(workload, parameters)
        self._in_one_pass: InOnePass | None = None

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Be ready for draws for the length of a ``with`` block, and drop all gradients at its end."""
        chosen = {id(p.tensor) for p in self._parameters}
        others = [x for x in self._workload.module.parameters() if x.requires_grad and id(x) not in chosen]
        for tensor in others:
            tensor.requires_grad_(False)
        try:
            with self._one_by_one.attached():
                yield
        finally:
            for tensor in others:
                tensor.requires_grad_(True)
            self.clear()

    @property
    def in_one_pass(self) -> bool:
        """Whether draws are made in one pass."""
        return self._in_one_pass is not None

    def clear(self) -> None:
        """Forget the gradients of the last draw."""
        for tensor in self._workload.module.parameters():
            tensor.grad = None

    def differentiate(self, batch: Batch) -> None:
        """Add the gradient of a batch's mean loss to ``.grad``, nothing measured."""
        self._one_by_one.differentiate(batch)

    def draw(self, batch: Batch) -> Draw:
        """Make one draw: afterwards ``.grad`` of every parameter is the draw."""
        self.clear()
        found: Draw | None = None
        if self._in_one_pass is not None:
            try:
                found = self._in_one_pass.draw(batch)
            except torch.OutOfMemoryError:  # one example at a time may still fit
                self._in_one_pass = None
        return self._one_by_one.draw(batch) if found is None else found

    def check(self, batch: Batch) -> None:
        """Compare the sum of one-example gradients with the batch's gradient, and a draw in one pass with both.

        The first comparison catches a loss that sums, a loss whose examples are weighed unequally, and layers which
        mix examples. The second decides how draws are made from here on. Dropout is off meanwhile, on all sides, and a
        few examples stand for the batch.

        Raises:
            UserError: sum and batch differ by more than rounding, layers mix examples, or the loss is not a scalar
                with a gradient.
        """
        batch = some_of(batch, slice(_CHECKED_EXAMPLES))
        with eval_mode(self._workload.module):
            refuse_mixing(self._workload.module)
            self.clear()
            expected = self._one_by_one.draw(batch)
            summed = self._grads()
            self.clear()
            self._one_by_one.differentiate(batch)
            whole, examples = self._grads(), len(expected.losses)
            rounding, terms = self._one_by_one.precision(batch)
            refuse_difference(self._parameters, summed, whole, examples=examples, rounding=rounding, terms=terms)
            fast = InOnePass(self._workload, self._parameters)
            found = _unless_it_fails(fast, batch)
            same = found is not None and same_draw(found, self._grads(), expected, summed, rounding=rounding)
            fast.reads_losses = found is not None and same_losses(found, expected, rounding=rounding)
            self._in_one_pass = fast if same else None
            self.clear()

    def _grads(self) -> list[Tensor]:
        return [
            torch.zeros_like(p.tensor) if p.tensor.grad is None else p.tensor.grad.detach().clone()
            for p in self._parameters
        ]


def _unless_it_fails(fast: InOnePass, batch: Batch) -> Draw | None:
    """Try the fast way; what it cannot do the obvious way, which has just succeeded, does."""
    try:
        return fast.draw(batch)
    except (RuntimeError, UserError):
        return None


def prepare(module: nn.Module, *, train: bool) -> list[str]:
    """Set train or eval mode; batch normalisation always uses its frozen statistics.

    Returns:
        names of the modules kept in eval mode because a batch of one has no statistics of its own.
    """
    module.train(train)
    frozen = [name for name, child in module.named_modules() if isinstance(child, BATCH_NORMS)]
    for name in frozen:
        module.get_submodule(name).eval()
    return frozen
