"""The checkpoint's optimizer, made again with its state; Muon and layer-wise rates beside it."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.records import JsonValue
from gnoise.remedies import LayerwiseLR, param_groups_for
from gnoise.remedies.param_groups import decay_groups
from gnoise.trials.arms import LAYERWISE_LR, MUON

State = Mapping[str, Mapping[str, Tensor]]
_TAKEN_UP = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
_BETAS = (0.9, 0.95)
_WEIGHT_DECAY = 0.1
_LEARNING_RATE = 3e-4
_MATCHED = "match_rms_adamw"


def settings_of(found: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Fill in what a checkpoint does not say about its optimizer: AdamW, betas 0.9 and 0.95, weight decay 0.1.

    Args:
        found: hyper-parameters found in the checkpoint.

    Returns:
        ``name``, ``lr``, ``betas``, ``eps``, ``momentum``, ``weight_decay``.

    Raises:
        UserError: the checkpoint is of another optimizer than SGD, Adam or AdamW.
    """
    said = str(found.get("name", "SGD" if "momentum" in found else "AdamW"))
    name = _TAKEN_UP.get(said.lower())
    if name is None:
        raise UserError(
            f"expected a checkpoint of SGD, Adam or AdamW to go on from, got one of {said}, whose state a trial cannot "
            "take up yet; try gnoise export and a training of your own"
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
    module: nn.Module, kind: str, settings: Mapping[str, JsonValue], *, lr: float, state: State
) -> Optimizer:
    """Make an arm's optimizer.

    Matrices decay, vectors do not. Muon's and the layer-wise rates are scaled to move entries as far as AdamW's do at
    the same rate; they start without the checkpoint's state, which is of another optimizer.

    Args:
        module: to be trained.
        kind: ``own``, ``muon`` or ``layerwise_lr``.
        settings: of :func:`settings_of`.
        lr: learning rate.
        state: of the checkpoint's optimizer, by parameter name; empty to start afresh.
    """
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
    optimizer = _own(str(settings["name"]), decay_groups(module, decay), settings, lr, betas)
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
