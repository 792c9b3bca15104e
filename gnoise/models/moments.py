"""Adam's second moments, as a checkpoint's optimizer left them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optim")
_DEFAULT_BETA = 0.999


def second_moments(checkpoint: object, module: nn.Module) -> dict[str, Tensor]:
    r"""Find $\hat v = v / (1 - \beta_2^t)$ of every parameter in an optimizer's ``state_dict``.

    The state is kept by number. Names come from the groups where they have them (``param_names``); otherwise numbers
    follow ``named_parameters()``, or nanoGPT's order, matrices before vectors, whichever fits all shapes.

    Args:
        checkpoint: what the file held.
        module: the network the optimizer worked on.

    Returns:
        by parameter name, in float32; empty where there is no state, or none that fits the module.
    """
    state = _optimizer_state(checkpoint)
    if state is None:
        return {}
    entries, groups = state
    numbers = [number for group in groups for number in group["params"]]
    betas = [_beta(group) for group in groups for _ in group["params"]]
    moments = [_moment(entries.get(number), beta) for number, beta in zip(numbers, betas, strict=True)]
    parameters = dict(module.named_parameters())
    for names in _orders(groups, parameters):
        pairs = list(zip(names, moments, strict=False))
        if len(names) == len(moments) and all(v is not None and v.shape == parameters[n].shape for n, v in pairs):
            return {name: moment for name, moment in pairs if moment is not None}
    return {}


def _optimizer_state(checkpoint: object) -> tuple[Mapping[int, Any], Sequence[Mapping[str, Any]]] | None:
    if not isinstance(checkpoint, Mapping):
        return None
    optimizer = next((checkpoint[key] for key in _OPTIMIZERS if key in checkpoint), None)
    if not isinstance(optimizer, Mapping):
        return None
    entries, groups = optimizer.get("state"), optimizer.get("param_groups")
    if not isinstance(entries, Mapping) or not isinstance(groups, list):
        return None
    fit = all(isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups)
    return (entries, groups) if fit else None


def _orders(groups: Sequence[Mapping[str, Any]], parameters: Mapping[str, nn.Parameter]) -> list[list[str]]:
    named = [name for group in groups for name in group.get("param_names", ())]
    if named and all(name in parameters for name in named):
        return [named]
    matrices = [name for name, tensor in parameters.items() if tensor.ndim >= 2]
    vectors = [name for name, tensor in parameters.items() if tensor.ndim < 2]
    return [list(parameters), matrices + vectors]


def _beta(group: Mapping[str, Any]) -> float:
    betas = group.get("betas")
    return float(betas[1]) if isinstance(betas, (tuple, list)) and len(betas) == 2 else _DEFAULT_BETA


def _moment(entry: object, beta: float) -> Tensor | None:
    if not isinstance(entry, Mapping):
        return None
    moment, step = entry.get("exp_avg_sq"), entry.get("step")
    if not isinstance(moment, Tensor) or not isinstance(step, (int, float, Tensor)) or float(step) < 1:
        return None
    found = moment.detach().to(torch.float32) / (1.0 - beta ** float(step))
    return found if bool(torch.isfinite(found).all()) and bool((found >= 0.0).all()) else None
