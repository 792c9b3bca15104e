"""One pass after another over batches for the same network: gradient and per-example norms together."""

from collections.abc import Sequence

from torch import nn

from gnoise.collect.per_example.batch import Loss, count_examples
from gnoise.collect.per_example.cost import prefers_loop
from gnoise.collect.per_example.in_parts import in_parts
from gnoise.collect.per_example.layer_type import LayerType, types_in
from gnoise.collect.per_example.layouts import Layouts
from gnoise.collect.per_example.mixing import refuse_mixing
from gnoise.collect.per_example.one_pass import Gradient, Job, Pass
from gnoise.collect.per_example.surroundings import run_eagerly
from gnoise.collect.workload import Batch


class Stream:
    """Measures batch after batch; learns the layout of one example anew only where its shapes change.

    Args:
        module: the network.
        loss: (module, batch) to the mean loss over examples.
        parameters: to measure, by name.
        layers: types of layers to measure.

    Raises:
        UserError: batch normalisation takes the batch's own statistics.
    """

    def __init__(
        self, module: nn.Module, loss: Loss, parameters: dict[str, nn.Parameter], layers: Sequence[LayerType]
    ) -> None:
        refuse_mixing(module)
        self._job = Job(module, loss, parameters, types_in(module, layers))
        self._layouts = Layouts(self._job)

    def draw(self, batch: Batch) -> Pass | None:
        """Run one pass over a batch.

        Returns:
            gradient, norms and losses; ``None`` where some parameter needs a pass per example, or such passes are
            cheaper: they give everything at once.
        """
        examples = count_examples(batch)
        with run_eagerly():
            layout = self._layouts.of(batch, examples)
            if self._job.on_cpu and prefers_loop(layout.largest):
                return None
            found = in_parts(self._job, batch, [1.0 / examples] * examples, layout, Gradient.SUMMED)
        return found if found.sq_norms.keys() == self._job.parameters.keys() else None
