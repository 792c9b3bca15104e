"""Squared norms of each example's own gradient, for every layer, from one forward and backward pass."""

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor, nn

from gnoise.collect.per_example.batch import Loss
from gnoise.collect.per_example.conv import conv_weight, is_conv
from gnoise.collect.per_example.cost import Method
from gnoise.collect.per_example.embedding import (
    embedding_weight,
    is_embedding,
    is_scaled_embedding,
    multiplies_scale,
    scaled_embedding_weight,
)
from gnoise.collect.per_example.engine import Measured, measure, measure_all
from gnoise.collect.per_example.layer_type import LayerType
from gnoise.collect.per_example.linear import (
    is_linear,
    is_transposed_linear,
    last_axis_bias,
    linear_weight,
    transposed_linear_weight,
)
from gnoise.collect.per_example.norms import (
    batch_norm_weight,
    channel_bias,
    group_norm_weight,
    is_batch_norm,
    is_group_norm,
    is_layer_norm,
    is_rms_norm,
    layer_norm_bias,
    layer_norm_weight,
    multiplies_rms,
    rms_norm_weight,
)
from gnoise.collect.workload import Batch

LAYERS: tuple[LayerType, ...] = (
    LayerType(is_linear, {"weight": linear_weight, "bias": last_axis_bias}),
    LayerType(is_transposed_linear, {"weight": transposed_linear_weight, "bias": last_axis_bias}),
    LayerType(is_embedding, {"weight": embedding_weight}, is_lookup=True),
    LayerType(is_scaled_embedding, {"weight": scaled_embedding_weight}, is_lookup=True, holds=multiplies_scale),
    LayerType(is_layer_norm, {"weight": layer_norm_weight, "bias": layer_norm_bias}),
    LayerType(is_rms_norm, {"weight": rms_norm_weight}, holds=multiplies_rms),
    LayerType(is_group_norm, {"weight": group_norm_weight, "bias": channel_bias}, examples_first=True),
    LayerType(is_batch_norm, {"weight": batch_norm_weight, "bias": channel_bias}, examples_first=True),
    LayerType(is_conv, {"weight": conv_weight, "bias": channel_bias}, examples_first=True),
)
"""Every type of layer measured without a pass per example; the first that matches a module is used."""


def per_example_sq_norms(
    module: nn.Module,
    loss: Loss,
    batch: Batch,
    *,
    example_weights: Sequence[float] | Tensor | None = None,
    check: bool = True,
) -> dict[str, Tensor]:
    r"""Square the norm of each example's own gradient, exactly, for every trainable parameter.

    Example i's own gradient $g_i$ is that of ``loss(module, example i alone)``. The batch's is
    $g = \sum_i w_i g_i$; a hook sees $w_i g_i$ and the weight is divided out, so that no $B^2$ is left inside.
    Layers in ``LAYERS``, sums, products and expansions are measured in one forward and backward pass, everything else
    in one pass per example for the parameters concerned. Differs from Gray et al. in choosing per layer, in tied
    weights (their cross term is exact) and in never forming the gradient of a large table.

    Leaves ``.grad``, hooks and training mode as found. Where the forward pass draws random numbers (dropout), the
    norms are those of one such drawing, except in the passes per example, which draw anew.

    Args:
        module: the network; batch normalisation in eval mode, for it mixes examples otherwise.
        loss: (module, batch) to a scalar. Whatever it is for one example alone is that example's own loss.
        batch: examples along dimension 0; tensors of length 1 there are shared by all examples.
        example_weights: $w_i > 0$, each example's weight in the batch's loss: 1/B (the default) for a mean over
            examples, 1 for a sum, the example's share of the counted tokens for a mean over tokens.
        check: compare $\sum_i w_i g_i$ with the batch's gradient for every parameter, and the first example's norms
            with its loss differentiated alone. Costs about the weight gradients that are not computed otherwise.

    Returns:
        names as in ``named_parameters()``, tied ones under their first name; each of shape (examples,), in float32 or
        better. A parameter that the loss does not reach has zeros.

    Raises:
        UserError: weights do not fit, the loss is no differentiable scalar, or the check fails: the loss weighs
            examples otherwise than said, or layers mix examples.

    References:
        G. Gray et al., 2024, section 3 and algorithm 1, arXiv:2411.00999. X. Li et al., 2022, section 4 (Gram
        matrices), arXiv:2110.05679.
    """
    return measure(module, loss, batch, layers=LAYERS, example_weights=example_weights, check=check).sq_norms


def stream_per_example_sq_norms(
    module: nn.Module, loss: Loss, batches: Iterable[Batch], *, check: bool = True
) -> Iterator[dict[str, Tensor]]:
    """Square the norms of each example's own gradient in one batch after another, at whatever weights each meets.

    What ``per_example_sq_norms`` does, at less cost: the self-check is made on the first batch alone, and the order
    in which examples lie in each layer is learnt once for every shape of example.

    Args:
        module: the network; which parameters are trainable is looked up once, at the first batch.
        loss: (module, batch) to the mean loss over the batch's examples.
        batches: examples along dimension 0.
        check: make the self-check on the first batch.

    Yields:
        one result of ``per_example_sq_norms`` a batch.

    Raises:
        UserError: the loss is no differentiable scalar, or the check fails.
    """
    for measured in measure_all(module, loss, batches, layers=LAYERS, check=check):
        yield measured.sq_norms


__all__ = [
    "LAYERS",
    "LayerType",
    "Loss",
    "Measured",
    "Method",
    "measure",
    "per_example_sq_norms",
    "stream_per_example_sq_norms",
]
