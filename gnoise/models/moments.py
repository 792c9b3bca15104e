"""An optimizer's state, as a checkpoint left it, under the names of the parameters it belongs to."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gnoise.models.muons import betas_in, is_muons
from gnoise.models.optimizer_states import MUON, as_number, number_in
from gnoise.models.pairing import Kept, paired

_DEFAULT_BETA = 0.999
_OF_MUON = frozenset({"momentum_buffer"})
_OF_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})
_SIZED = _OF_MUON | _OF_ADAM - {"step"}


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
        them; empty where there is no state, it is damaged (a number is not finite, something that a step needs is not
        there or of another shape), or none fits the module.
    """
    pairs, parameters = paired(checkpoint, module), dict(module.named_parameters())
    found = {name: _numbers(kept) for name, kept in pairs.items()}
    sound = all(_is_whole(pairs[name], entry, parameters[name]) for name, entry in found.items())
    return found if sound and any(found.values()) else {}


def _numbers(kept: Kept) -> dict[str, Tensor]:
    tensors = {
        key: value if isinstance(value, Tensor) else torch.tensor(as_number(value))
        for key, value in kept.entry.items()
        if isinstance(value, Tensor) or (as_number(value) is not None and not isinstance(value, bool))
    }
    real = {key: value for key, value in tensors.items() if not (value.is_complex() or value.is_meta)}
    return {key: value.detach().to(torch.float32) for key, value in real.items()}


def _is_whole(kept: Kept, entry: Mapping[str, Tensor], parameter: Tensor) -> bool:
    """Whether all numbers are finite, and what a step of the parameter reads is there."""
    muons = is_muons(kept.group, kept.entry)
    of_others = _OF_ADAM if kept.group.name in ("Adam", "AdamW", MUON) else frozenset[str]()
    needed = _OF_MUON if muons else of_others
    like = parameter.flatten(1) if muons and parameter.ndim > 2 else parameter  # Muon steps a kernel as a matrix
    sized = [value for key, value in entry.items() if key in _SIZED]
    return (
        needed <= entry.keys()
        and all(bool(torch.isfinite(value).all()) for value in entry.values())
        and all(value.shape == like.shape for value in sized)
        and all(value.numel() == 1 and value.item() >= 0.0 for key, value in entry.items() if key == "step")
        and all(bool((value >= 0.0).all()) for key, value in entry.items() if key == "exp_avg_sq")
    )


def _moment(kept: Kept) -> Tensor | None:
    moment, step = kept.entry.get("exp_avg_sq"), number_in(kept.entry, "step")
    if not isinstance(moment, Tensor) or step is None or not step >= 1.0:
        return None
    betas = betas_in(kept.group.settings)
    beta = betas[1] if len(betas) == 2 else _DEFAULT_BETA
    found = moment.detach().to(torch.float32) / (1.0 - beta**step)
    return found if bool(torch.isfinite(found).all()) and bool((found >= 0.0).all()) else None
