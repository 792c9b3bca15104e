"""AdamW, Muon and LayerwiseLR for a whole model, each in one call: what remedies are compared on."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.remedies.layerwise_lr import LayerwiseLR
from gnoise.remedies.param_groups import decay_groups, param_groups_for


def optimizer_for(
    model: nn.Module,
    kind: str,
    *,
    lr: float | None = None,
    other_lr: float = 3e-4,
    weight_decay: float = 0.1,
) -> Optimizer:
    """Make an optimizer over a model's trained parameters, with the settings people start from.

    - ``adamw``: ``torch.optim.AdamW`` with betas 0.9 and 0.95.
    - ``muon``: Jordan's, Nesterov momentum 0.95, for hidden matrices, and that AdamW for the rest.
    - ``layerwise_lr``: LANTON's geometries and rates.

    Vectors do not decay. :func:`param_groups_for` tells hidden matrices from the rest; call it and
    :class:`LayerwiseLR` yourself where its rules do not fit.

    Args:
        model: to be trained.
        kind: as above.
        lr: of AdamW (3e-4 by default), or of hidden matrices (0.02 by default).
        other_lr: of everything but hidden matrices; ignored by ``adamw``.
        weight_decay: decoupled.

    Raises:
        UserError: an unknown kind, or a model without trained parameters.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError("expected a model with trained parameters, got none; try model.requires_grad_()")
    if kind == "adamw":
        return torch.optim.AdamW(decay_groups(model, weight_decay), lr=3e-4 if lr is None else lr, betas=(0.9, 0.95))
    rate = 0.02 if lr is None else lr
    if kind == "muon":
        groups = param_groups_for(model, others="adamw")
        return LayerwiseLR(
            groups, lr=rate, other_lr=other_lr, weight_decay=weight_decay, nesterov=True, reference=math.inf
        )
    if kind == "layerwise_lr":
        return LayerwiseLR(param_groups_for(model), lr=rate, other_lr=other_lr, weight_decay=weight_decay)
    raise UserError(f"expected adamw, muon or layerwise_lr, got {kind!r}; try kind='muon'")
