"""The checkpoint's optimizer, made again with its state; Muon and layer-wise rates beside it."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.models.steps import NO_STEPS, OptimizerSteps
from gnoise.records import JsonValue
from gnoise.remedies import LayerwiseLR, param_groups_for
from gnoise.remedies.param_groups import decay_groups
from gnoise.trials.arms import LAYERWISE_LR, MUON, OWN_OPTIMIZER
from gnoise.trials.own_muon import own_muon

State = Mapping[str, Mapping[str, Tensor]]
_OWN_MUON = "Muon"
_TAKEN_UP = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "muon": _OWN_MUON}
_BETAS = (0.9, 0.95)
_WEIGHT_DECAY = 0.1
_LEARNING_RATE = 3e-4
_MATCHED = "match_rms_adamw"


def settings_of(found: Mapping[str, JsonValue], steps: OptimizerSteps = NO_STEPS) -> dict[str, JsonValue]:
    """Fill in what a checkpoint does not say about its optimizer: AdamW, betas 0.9 and 0.95, weight decay 0.1.

    Args:
        found: hyper-parameters found in the checkpoint.
        steps: how it steps each parameter, where it is Muon.

    Returns:
        ``name``, ``lr``, ``betas``, ``eps``, ``momentum``, ``weight_decay``.

    Raises:
        UserError: the checkpoint is of another optimizer than SGD, Adam, AdamW and Muon, or of a Muon whose steps are
            not known.
    """
    said = str(found.get("name", "SGD" if "momentum" in found else "AdamW"))
    name = _TAKEN_UP.get(said.lower())
    if name is None or (name == _OWN_MUON and not steps.by_name):
        without = "whose state is not in the checkpoint" if name == _OWN_MUON else "whose steps a trial cannot take"
        raise UserError(
            f"expected a checkpoint of SGD, Adam, AdamW or Muon to go on from, got one of {said}, "
            f"{steps.missing or without}; try gnoise export, and a training of your own with and without gnoise.apply"
        )
    return {
        "name": name,
        "lr": _number(found.get("lr"), _LEARNING_RATE),
        "betas": found["betas"] if _are_two(found.get("betas")) else [*_BETAS],
        "eps": _number(found.get("eps"), 1e-8),
        "momentum": _number(found.get("momentum"), 0.0),
        "weight_decay": _number(found.get("weight_decay"), 0.0 if name == "SGD" else _WEIGHT_DECAY),
    }


def make_optimizer(
    module: nn.Module,
    kind: str,
    settings: Mapping[str, JsonValue],
    *,
    lr: float,
    state: State,
    steps: OptimizerSteps = NO_STEPS,
) -> Optimizer:
    """Make an arm's optimizer.

    Where the checkpoint's own is Muon, each parameter is stepped as it was, all rates in proportion; layer-wise rates
    are then its own Muon with rates that follow the noise. Else matrices decay, vectors do not, and Muon's and the
    layer-wise rates are scaled to move entries as far as AdamW's do at the same rate.

    Args:
        module: to be trained.
        kind: ``own``, ``muon`` or ``layerwise_lr``.
        settings: of :func:`settings_of`.
        lr: learning rate.
        state: of the checkpoint's optimizer, by parameter name; empty to start afresh. Left alone where
            :func:`goes_on` says no.
        steps: how it steps each parameter, where it is Muon.
    """
    if settings["name"] == _OWN_MUON and kind != MUON:
        muon = own_muon(module, steps, times=lr / steps.lr)
        if kind == LAYERWISE_LR:
            muon.adapt()
        return _with_state(muon, module, state)
    betas = _betas(settings["betas"])
    decay = _number(settings["weight_decay"], 0.0)
    if kind in (MUON, LAYERWISE_LR):
        plain = kind == MUON
        return LayerwiseLR(
            param_groups_for(module, others="adamw" if plain else "lmo"),
            lr=lr,
            other_lr=lr,
            weight_decay=decay,
            adjust_lr_fn=_MATCHED,
            betas=betas,
            nesterov=plain,
            reference=math.inf if plain else None,
        )
    return _with_state(_own(str(settings["name"]), decay_groups(module, decay), settings, lr, betas), module, state)


def goes_on(kind: str, settings: Mapping[str, JsonValue]) -> bool:
    """Tell whether an arm's optimizer takes up the checkpoint's state: its own does, and rates that follow its Muon.

    Args:
        kind: as in :func:`make_optimizer`.
        settings: likewise.
    """
    return kind == OWN_OPTIMIZER or (kind == LAYERWISE_LR and settings["name"] == _OWN_MUON)


def _with_state(optimizer: Optimizer, module: nn.Module, state: State) -> Optimizer:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and name in state:
            optimizer.state[parameter] = {
                key: value.clone() if key == "step" else value.to(parameter.device, copy=True)
                for key, value in state[name].items()
            }
    return optimizer


def _own(
    name: str, groups: list[dict[str, Any]], settings: Mapping[str, JsonValue], lr: float, betas: tuple[float, float]
) -> Optimizer:
    if name == "SGD":
        return torch.optim.SGD(groups, lr=lr, momentum=_number(settings["momentum"], 0.0))
    made = torch.optim.Adam if name == "Adam" else torch.optim.AdamW
    return made(groups, lr=lr, betas=betas, eps=_number(settings["eps"], 1e-8))


def _betas(value: JsonValue) -> tuple[float, float]:
    match value:
        case [int() | float() as first, int() | float() as second]:
            return float(first), float(second)
        case _:
            return _BETAS


def _are_two(value: JsonValue) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(x, int | float) for x in value)


def _number(value: JsonValue, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
