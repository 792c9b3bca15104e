"""One pass after another over batches for the same network: gradient and per-example norms together."""

from collections.abc import Sequence

from torch import Tensor, nn

from gnoise.collect.per_example.batch import Loss, count_examples, one_example
from gnoise.collect.per_example.layer_type import LayerType, types_in
from gnoise.collect.per_example.one_pass import Gradient, Job, Pass, one_pass
from gnoise.collect.per_example.plan import Layout, layout_of
from gnoise.collect.per_example.surroundings import forked, run_eagerly
from gnoise.collect.per_example.trace import trace
from gnoise.collect.workload import Batch


class Stream:
    """Measures batch after batch; learns the layout of one example anew only where its shapes change.

    Args:
        module: the network.
        loss: (module, batch) to the mean loss over examples.
        parameters: to measure, by name.
        layers: types of layers to measure.
    """

    def __init__(
        self, module: nn.Module, loss: Loss, parameters: dict[str, nn.Parameter], layers: Sequence[LayerType]
    ) -> None:
        self._job = Job(module, loss, parameters, types_in(module, layers))
        self._layouts: dict[tuple[tuple[int, ...], ...], Layout] = {}

    def draw(self, batch: Batch) -> Pass | None:
        """Run one pass over a batch.

        Returns:
            gradient, norms and losses; ``None`` where some parameter needs a pass per example, which then gives
            everything at once.
        """
        examples = count_examples(batch)
        with run_eagerly(self._job.module):
            layout = self._layout(batch, examples)
            found = one_pass(self._job, batch, [1.0 / examples] * examples, layout, Gradient.SUMMED)
        return found if found.sq_norms.keys() == self._job.parameters.keys() else None

    def _layout(self, batch: Batch, examples: int) -> Layout:
        one = one_example(batch, 0, examples)
        shapes = _shapes(one)
        if shapes not in self._layouts:
            with forked(list(self._job.parameters.values())):
                traced = trace(self._job.module, self._job.loss, one, self._job.types)
            self._layouts[shapes] = layout_of(traced, self._job.parameters)
        return self._layouts[shapes]


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    tensors = [batch] if isinstance(batch, Tensor) else list(batch.values() if isinstance(batch, dict) else batch)
    return tuple(tuple(tensor.shape) for tensor in tensors)
