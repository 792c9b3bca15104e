"""An optimizer's state, as a checkpoint left it, under the names of the parameters it belongs to."""

import torch
from torch import Tensor, nn

from gnoise.models.muons import betas_in
from gnoise.models.pairing import Kept, paired

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
    of_adam = {name: kept for name, kept in paired(checkpoint, module).items() if "exp_avg_sq" in kept.entry}
    moments = {name: _moment(kept) for name, kept in of_adam.items()}
    found = {name: moment for name, moment in moments.items() if moment is not None}
    return found if len(found) == len(moments) else {}


def optimizer_state(checkpoint: object, module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Find what an optimizer's ``state_dict`` keeps for every parameter, so that training can go on from there.

    Args:
        checkpoint: what the file held.
        module: the network the optimizer worked on.

    Returns:
        by parameter name, e.g. ``step``, ``exp_avg`` and ``exp_avg_sq``, in float32 and as torch's own optimizers keep
        them; empty where there is no state, a number in it is not finite, or none fits the module.
    """
    found = {
        name: {
            key: torch.as_tensor(value).detach().to(torch.float32)
            for key, value in kept.entry.items()
            if _is_number(value)
        }
        for name, kept in paired(checkpoint, module).items()
    }
    sound = all(bool(torch.isfinite(value).all()) for entry in found.values() for value in entry.values())
    return found if sound and any(found.values()) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Tensor)) and not isinstance(value, bool)


def _moment(kept: Kept) -> Tensor | None:
    moment, step = kept.entry.get("exp_avg_sq"), kept.entry.get("step")
    if not isinstance(moment, Tensor) or not isinstance(step, (int, float, Tensor)) or float(step) < 1:
        return None
    betas = betas_in(kept.group.settings)
    beta = betas[1] if len(betas) == 2 else _DEFAULT_BETA
    found = moment.detach().to(torch.float32) / (1.0 - beta ** float(step))
    return found if bool(torch.isfinite(found).all()) and bool((found >= 0.0).all()) else None
