"""The layout of one example, learnt once for every shape in which examples come."""

from torch import Tensor

from gnoise.collect.per_example.batch import one_example
from gnoise.collect.per_example.one_pass import Job
from gnoise.collect.per_example.plan import Layout, layout_of
from gnoise.collect.per_example.surroundings import forked
from gnoise.collect.per_example.trace import trace
from gnoise.collect.workload import Batch


class Layouts:
    """Runs a batch's first example alone where its shapes are new, and remembers what that told.

    Args:
        job: module, loss and parameters.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._known: dict[tuple[tuple[int, ...], ...], Layout] = {}

    def of(self, batch: Batch, examples: int) -> Layout:
        """Return the layout of a batch's examples."""
        one = one_example(batch, 0, examples)
        shapes = _shapes(one)
        if shapes not in self._known:
            with forked(list(self._job.parameters.values())):
                traced = trace(self._job.module, self._job.loss, one, self._job.types)
            self._known[shapes] = layout_of(traced, self._job.parameters)
        return self._known[shapes]


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    tensors = [batch] if isinstance(batch, Tensor) else list(batch.values() if isinstance(batch, dict) else batch)
    return tuple(tuple(tensor.shape) for tensor in tensors)
