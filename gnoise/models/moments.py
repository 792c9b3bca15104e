"""An optimizer's state, as a checkpoint left it, under the names of the parameters it belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnoise.models.optimizer_states import Group, optimizer_groups

_DEFAULT_BETA = 0.999


def second_moments(checkpoint: object, module: nn.Module) -> dict[str, Tensor]:
    r"""Find $\hat v = v / (1 - \beta_2^t)$ of every parameter in an optimizer's ``state_dict``.

    Args:
        checkpoint: what the file held.
        module: the network the optimizer worked on.

    Returns:
        by parameter name, in float32, of those that Adam steps; empty where there is no such state, none that fits the
        module, or any that is damaged.
    """
    kept = {name: pair for name, pair in _by_name(checkpoint, module).items() if "exp_avg_sq" in pair[0]}
    moments = {name: _moment(entry, beta) for name, (entry, beta) in kept.items()}
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
    """Match entries to parameters; return each with its group's second beta.

    Several optimizers have the parameters between them, or one alone has them all.
    """
    optimizers = optimizer_groups(checkpoint)
    for groups in ([group for of_one in optimizers for group in of_one], *optimizers):
        if found := _matched(groups, dict(module.named_parameters())):
            return found
    return {}


def _matched(
    groups: Sequence[Group], parameters: Mapping[str, nn.Parameter]
) -> dict[str, tuple[Mapping[str, Any], float]]:
    found = [(entry, _beta(group.settings)) for group in groups for entry in group.entries]
    for names in _orders(groups, parameters):
        if len(names) == len(found):
            pairs = {name: (entry, beta) for name, (entry, beta) in zip(names, found, strict=True)}
            if len(pairs) == len(found) and all(_fits(entry, parameters[name]) for name, (entry, _) in pairs.items()):
                return {name: (entry, beta) for name, (entry, beta) in pairs.items() if entry is not None}
    return {}


def _fits(entry: Mapping[str, object] | None, parameter: Tensor) -> bool:
    """Whether something is kept, and all of it is one number or has the parameter's shape."""
    tensors = [] if entry is None else [x for x in entry.values() if isinstance(x, Tensor)]
    return entry is not None and all(x.numel() == 1 or x.shape == parameter.shape for x in tensors)


def _orders(groups: Sequence[Group], parameters: Mapping[str, nn.Parameter]) -> list[list[str]]:
    named = [str(name) for group in groups for name in _names(group.settings)]
    if named and all(name in parameters for name in named):
        return [named]
    matrices = [name for name, tensor in parameters.items() if tensor.ndim >= 2]
    vectors = [name for name, tensor in parameters.items() if tensor.ndim < 2]
    return [list(parameters), matrices + vectors]


def _names(settings: Mapping[str, object]) -> Sequence[object]:
    names = settings.get("param_names")
    return names if isinstance(names, (list, tuple)) else ()


def _beta(group: Mapping[str, object]) -> float:
    betas = group.get("betas")
    return float(betas[1]) if isinstance(betas, (tuple, list)) and len(betas) == 2 else _DEFAULT_BETA


def _moment(entry: Mapping[str, object], beta: float) -> Tensor | None:
    moment, step = entry.get("exp_avg_sq"), entry.get("step")
    if not isinstance(moment, Tensor) or not isinstance(step, (int, float, Tensor)) or float(step) < 1:
        return None
    found = moment.detach().to(torch.float32) / (1.0 - beta ** float(step))
    return found if bool(torch.isfinite(found).all()) and bool((found >= 0.0).all()) else None
