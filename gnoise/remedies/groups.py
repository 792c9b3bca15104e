"""Learning-rate multipliers for single parameters, by splitting an optimizer's groups."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gnoise.errors import UserError


def multiply_lr(optimizer: Optimizer, multipliers: Mapping[Tensor, float]) -> None:
    """Multiply the learning rates of some parameters, now and under every later schedule.

    Each group is split by multiplier; new groups copy every setting, multiply ``lr`` (and ``initial_lr``, where a
    checkpoint left one) and note the ``lr_multiplier``. Schedulers made afterwards keep the ratio, since all of
    torch's scale each group from its own start; one that sets absolute rates (``OneCycleLR``, ``CyclicLR``) needs
    them as a list. Optimizer state is kept.

    Args:
        optimizer: changed in place.
        multipliers: parameter to factor, above zero.

    Raises:
        UserError: a scheduler is already attached, which would miss the new groups.
    """
    if not multipliers:
        return
    if getattr(optimizer.step, "_wrapped_by_lr_sched", False):
        raise UserError(
            "expected an optimizer without a learning-rate scheduler, got one that has it already; "
            "try apply before the scheduler is made"
        )
    for group in list(optimizer.param_groups):
        _split(optimizer, group, multipliers)


def _split(optimizer: Optimizer, group: dict[str, Any], multipliers: Mapping[Tensor, float]) -> None:
    factors = [multipliers.get(x, 1.0) for x in group["params"]]
    ordered = sorted(set(factors), key=factors.index)
    # The first multiplier stays in the old group: no group is ever left empty.
    original = dict(group)
    for number, factor in enumerate(ordered):
        kept = [i for i, x in enumerate(factors) if x == factor]
        target = group if number == 0 else dict(original)
        target["params"] = [original["params"][i] for i in kept]
        if "param_names" in original:
            target["param_names"] = [original["param_names"][i] for i in kept]
        if factor != 1.0:
            target["lr_multiplier"] = factor
            target["lr"] = original["lr"] * factor
            if "initial_lr" in original:
                target["initial_lr"] = original["initial_lr"] * factor
        if number > 0:
            _add(optimizer, target)


def _add(optimizer: Optimizer, group: dict[str, Any]) -> None:
    names = group.pop("param_names", None)
    if names is not None:
        group["params"] = list(zip(names, group["params"], strict=True))
    optimizer.add_param_group(group)
