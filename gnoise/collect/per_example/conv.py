"""Convolutions over one or two dimensions, unfolded into linear layers over patches."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.per_example.form import Form, Outer, Whole
from gnoise.collect.per_example.layer_type import runs


def is_conv(module: nn.Module) -> bool:
    """Recognise ``nn.Conv1d`` and ``nn.Conv2d``, any stride, dilation, groups and padding."""
    inner = getattr(type(module), "_conv_forward", None)  # where a subclass may do something to the weight
    own = inner in (nn.Conv1d._conv_forward, nn.Conv2d._conv_forward)  # pyright: ignore[reportPrivateUsage]
    return own and "_conv_forward" not in vars(module) and runs(module, nn.Conv1d, nn.Conv2d)


def conv_weight(module: nn.Module, x: Tensor, grad: Tensor) -> Form:
    r"""$\nabla W_b = \sum_p g_{bp}\,\mathrm{patch}_p(x_b)^\top$ over positions p, group by group.

    Grouped weights are small (their inputs are divided by the groups): their gradients are written out.
    """
    conv: nn.Conv1d | nn.Conv2d = module  # pyright: ignore[reportAssignmentType]
    grads_BPO = grad.flatten(2).mT
    patches_BPK = _patches(conv, x.to(grad.dtype))
    if conv.groups == 1:
        return Outer(grads_BPO, patches_BPK)
    split = (conv.groups, -1)
    grouped = torch.einsum("bpgo,bpgk->bgok", grads_BPO.unflatten(2, split), patches_BPK.unflatten(2, split))
    return Whole(grouped.reshape(len(x), *conv.weight.shape))


def _patches(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    x = functional.pad(x, conv._reversed_padding_repeated_twice, mode=mode)  # pyright: ignore[reportPrivateUsage]
    flat = x.ndim == 3  # one dimension is two of which the first has size 1
    patches = x.unsqueeze(2) if flat else x
    kernel, dilation, stride = ((1, *size) if flat else size for size in (conv.kernel_size, conv.dilation, conv.stride))
    # Two views and one copy: functional.unfold, which gives the same, takes three times as long on a CPU.
    for axis in range(2):
        patches = patches.unfold(2 + axis, dilation[axis] * (kernel[axis] - 1) + 1, stride[axis])
    patches = patches[..., :: dilation[0], :: dilation[1]].permute(0, 1, 4, 5, 2, 3)
    return patches.reshape(len(x), patches[0, :, :, :, 0, 0].numel(), -1).mT
