"""Layers under which no example has a gradient of its own."""

from torch import nn

from gnoise.errors import UserError

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)  # pyright: ignore[reportPrivateUsage]
"""``nn.BatchNorm1d`` to ``3d``, ``nn.SyncBatchNorm`` and what is made of them; instance normalisation is none."""


def mixes_examples(module: nn.Module) -> bool:
    """Say whether a module normalises with the batch's own statistics, in training or for want of others."""
    return isinstance(module, BATCH_NORMS) and (module.training or module.running_mean is None)


def refuse_mixing(module: nn.Module) -> None:
    """Refuse a network in which one example's gradient depends on the others.

    Raises:
        UserError: names the first such layer.
    """
    for name, child in module.named_modules():
        if mixes_examples(child):
            where = f"module.get_submodule({name!r})" if name else "module"
            keeps = getattr(child, "running_mean", None) is not None
            how = f"{where}.eval()" if keeps else "nn.GroupNorm, or track_running_stats=True and .eval()"
            state = "in training mode" if keeps else "without running statistics"
            raise UserError(
                f"expected layers that keep examples apart, got batch normalisation {state} "
                f"({name or type(child).__name__}): it takes the batch's own statistics, so that no example has a "
                f"gradient of its own; try {how}"
            )
