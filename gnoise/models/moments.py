"""An optimizer's state, as a checkpoint left it, under the names of the parameters it belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optim")
_DEFAULT_BETA = 0.999


def second_moments(checkpoint: object, module: nn.Module) -> dict[str, Tensor]:
    r"""Find $\hat v = v / (1 - \beta_2^t)$ of every parameter in an optimizer's ``state_dict``.

    Args:
        checkpoint: what the file held.
        module: the network the optimizer worked on.

    Returns:
        by parameter name, in float32; empty where there is no such state, or none that fits the module.
    """
    moments = {name: _moment(entry, beta) for name, (entry, beta) in _by_name(checkpoint, module).items()}
    found = {name: moment for name, moment in moments.items() if moment is not None}
    return found if len(found) == len(moments) else {}


def optimizer_state(checkpoint: object, module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Find what an optimizer's ``state_dict`` keeps for every parameter, so that training can go on from there.

    The state is kept by number. Names come from the groups where they have them (``param_names``); otherwise numbers
    follow ``named_parameters()``, or nanoGPT's order, matrices before vectors, whichever fits all shapes.

    Args:
        checkpoint: what the file held.
        module: the network the optimizer worked on.

    Returns:
        by parameter name, e.g. ``step``, ``exp_avg`` and ``exp_avg_sq``, in float32; empty where there is no state, a
        number in it is not finite, or none fits the module.
    """
    found = {
        name: {
            key: torch.as_tensor(value).detach().to(torch.float32) for key, value in entry.items() if _is_kept(value)
        }
        for name, (entry, _) in _by_name(checkpoint, module).items()
    }
    sound = all(bool(torch.isfinite(value).all()) for entry in found.values() for value in entry.values())
    return found if sound and any(found.values()) else {}


def _is_kept(value: object) -> bool:
    return isinstance(value, (int, float, Tensor)) and not isinstance(value, bool)


def _by_name(checkpoint: object, module: nn.Module) -> dict[str, tuple[Mapping[str, Any], float]]:
    """Match entries to parameters; return each with its group's second beta."""
    state = _optimizer_state(checkpoint)
    if state is None:
        return {}
    entries, groups = state
    found = [(entries.get(number), _beta(group)) for group in groups for number in group["params"]]
    parameters = dict(module.named_parameters())
    for names in _orders(groups, parameters):
        if len(names) == len(found):
            pairs = {name: (entry, beta) for name, (entry, beta) in zip(names, found, strict=True)}
            kept = {name: pair for name, pair in pairs.items() if isinstance(pair[0], Mapping)}
            if len(kept) == len(pairs) and all(_fits(entry, parameters[name]) for name, (entry, _) in kept.items()):
                return {name: (entry, beta) for name, (entry, beta) in kept.items() if isinstance(entry, Mapping)}
    return {}


def _fits(entry: object, parameter: Tensor) -> bool:
    """Whether all that is kept is one number or has the parameter's shape."""
    tensors = [x for x in entry.values() if isinstance(x, Tensor)] if isinstance(entry, Mapping) else []
    return all(x.numel() == 1 or x.shape == parameter.shape for x in tensors)


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
