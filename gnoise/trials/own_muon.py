"""Muon and AdamW as the checkpoint had them, in one optimizer."""

import math
from dataclasses import asdict
from typing import Any

from torch import nn

from gnoise.models.muons import AdamWStep, MuonStep
from gnoise.models.steps import OptimizerSteps
from gnoise.remedies import Geometry, LayerwiseLR


def own_muon(module: nn.Module, steps: OptimizerSteps, *, times: float) -> LayerwiseLR:
    """Make an optimizer that steps each parameter as the checkpoint's did.

    It steps matrices by ``torch.optim.Muon`` and everything else by ``torch.optim.AdamW``, and is *one* optimizer, so
    that remedies can be applied to it.

    Args:
        module: to be trained.
        steps: of all its parameters.
        times: what all learning rates are multiplied by.
    """
    alike: dict[MuonStep | AdamWStep, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and name in steps.by_name:
            alike.setdefault(steps.by_name[name], []).append((name, parameter))
    groups = [_group(step, params, times) for step, params in alike.items()]
    return LayerwiseLR(groups, reference=math.inf)


def _group(step: MuonStep | AdamWStep, params: list[tuple[str, nn.Parameter]], times: float) -> dict[str, Any]:
    geometry = Geometry.SPECTRAL if isinstance(step, MuonStep) else Geometry.ADAMW
    return asdict(step) | {"params": params, "geometry": str(geometry), "lr": step.lr * times}
