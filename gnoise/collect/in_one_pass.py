"""The fast draw: one pass over the batch gives its gradient and every example's norms."""

from collections.abc import Sequence

import numpy as np
import torch

from gnoise.collect.draw import Draw
from gnoise.collect.layers import Parameter
from gnoise.collect.one_by_one import said_clearly
from gnoise.collect.per_example import LAYERS
from gnoise.collect.per_example.losses import ExampleLosses
from gnoise.collect.per_example.stream import Stream
from gnoise.collect.workload import Batch, Workload, example_of, examples_in
from gnoise.errors import unreadable

_SAME_WEIGHT = 1e-3


class InOnePass:
    """Draws without a pass per example; see :mod:`gnoise.collect.per_example` for how.

    Losses are read off the graph where the loss is torch's cross-entropy or squared error. Else they cost one more
    forward pass per example, for which dropout draws anew.

    Args:
        workload: what to differentiate.
        parameters: which tensors to measure.
    """

    def __init__(self, workload: Workload, parameters: Sequence[Parameter]) -> None:
        self._workload = workload
        self._parameters = parameters
        tensors = {p.layer.name: p.tensor for p in parameters}
        self._stream = Stream(workload.module, workload.loss, tensors, LAYERS)
        self.reads_losses = True

    def draw(self, batch: Batch) -> Draw | None:
        """Leave one draw's gradient in ``.grad``.

        Returns:
            ``None`` where some parameter needs a pass per example; ``.grad`` is untouched then.
        """
        with said_clearly():
            found = self._stream.draw(batch)
        if found is None:
            return None
        losses = self._losses(found.losses, batch)
        for parameter in self._parameters:
            tensor = parameter.tensor
            grad = found.grads.get(parameter.layer.name)  # none where the loss does not reach
            tensor.grad = torch.zeros_like(tensor) if grad is None else grad.to(tensor.dtype)
        sq_norms_LE = torch.stack([found.sq_norms[p.layer.name].double() for p in self._parameters])
        return Draw(example_sq_norms=sq_norms_LE.numpy(force=True), losses=losses)

    def _losses(self, read: ExampleLosses | None, batch: Batch) -> np.ndarray:
        examples = examples_in(batch)
        if not self.reads_losses or read is None:
            with torch.no_grad(), said_clearly():
                alone = [self._workload.loss(self._workload.module, example_of(batch, i)) for i in range(examples)]
            return torch.stack(alone).double().numpy(force=True)
        shares = read.weights.numpy(force=True) * examples
        if not np.allclose(shares, 1.0, rtol=_SAME_WEIGHT):
            raise unreadable(
                f"expected every example to weigh the same in the mean loss, got {shares.min():.3g} to "
                f"{shares.max():.3g} times 1/{examples}, as padding does it; try sequences of one length, or "
                "--loss module:function that averages each example first"
            )
        return read.of_each.double().numpy(force=True)
