"""Put recommendations into effect inside a training run's own optimizer."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.export.plans import make_plans, requested_multipliers
from gnoise.export.requests import Request, load_requests
from gnoise.records import JsonValue, Remedy
from gnoise.remedies.groups import multiply_lr
from gnoise.remedies.layerwise_lr import LayerwiseLR
from gnoise.remedies.planned import planned_transform
from gnoise.remedies.wrap import bare, wrap, wrapped

_WRAPPERS = ("module", "_orig_mod")


def apply(recommendations: str | Path | Mapping[str, JsonValue], model: nn.Module, optimizer: Optimizer) -> Optimizer:
    """Switch on what was recommended, in one line, before the first step and before any scheduler is made.

    A layer's own ``clip``, ``shrink`` or ``stabilize`` goes before the model's: such a layer is left out of the
    latter. ``layerwise_lr`` changes the learning rate only, so it goes with any of them: a :class:`LayerwiseLR`
    starts to follow the noise itself, other optimizers get the multiplier that was recommended. A scale or limit of
    ``null`` is tracked over steps. The same call before ``load_state_dict`` resumes bit for bit.
    Undo with ``wrapped(optimizer)[name].remove()``; split parameter groups stay split.

    Args:
        recommendations: path of a ``recommendations.json`` or a run file, or the document itself.
        model: whose parameter names the layers are; wrappers of ``DistributedDataParallel`` and ``torch.compile`` are
            looked through.
        optimizer: holds every parameter concerned; changed in place. One that Accelerate prepared will do.

    Returns:
        the same optimizer.

    Raises:
        UserError: unreadable, another format or a newer version (exit 3); a layer the model does not have or has
            with another shape, a parameter the optimizer does not have, settings that make no sense, or applied
            twice (exit 2). Nothing is changed then.
    """
    requests = load_requests(recommendations)
    inner = bare(optimizer)
    slowed = any("lr_multiplier" in group for group in inner.param_groups)
    if slowed or any(name.startswith("apply:") for name in wrapped(inner)):
        raise UserError(
            "expected an optimizer without recommendations, got one that has some; try apply on a fresh optimizer"
        )
    plans, multipliers = make_plans(requests), requested_multipliers(requests)
    parameters = _parameters(model)
    layers = {str(r.layer): _find(r, parameters, inner) for r in requests if r.layer is not None}
    own = [layers[str(r.layer)] for r in requests if r.layer is not None and r.remedy is not Remedy.LAYERWISE_LR]
    taken = {id(tensor) for tensor in own}
    if len(taken) < len(own):
        raise UserError("expected one entry-wise or norm remedy a layer, got several; try removing one from the file")
    if len({id(layers[name]) for name in multipliers}) < len(multipliers):
        raise UserError("expected one layerwise_lr a layer, got several; try removing one from the file")
    others = [x for group in inner.param_groups for x in group["params"] if id(x) not in taken]
    transforms = [planned_transform(plan) for plan in plans]
    _slow_down(inner, {layers[name]: factor for name, factor in multipliers.items()})
    for plan, transform in zip(plans, transforms, strict=True):
        select = others if plan.layers is None else [layers[name] for name in plan.layers]
        if select:
            wrap(inner, transform, select=select, name=plan.name)
    return optimizer


def _slow_down(optimizer: Optimizer, multipliers: Mapping[Tensor, float]) -> None:
    if not isinstance(optimizer, LayerwiseLR) or not multipliers:
        multiply_lr(optimizer, multipliers)
        return
    followed = {id(x) for x in optimizer.followed()}
    multiply_lr(optimizer, {x: factor for x, factor in multipliers.items() if id(x) not in followed})
    optimizer.adapt()


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters by the names they have, with and without wrappers, tied ones under each of theirs."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found[name] = parameter
        found.setdefault(".".join(part for part in name.split(".") if part not in _WRAPPERS), parameter)
    return found


def _find(request: Request, parameters: Mapping[str, Tensor], optimizer: Optimizer) -> Tensor:
    name = str(request.layer)
    if name not in parameters:
        near = difflib.get_close_matches(name, parameters, n=1, cutoff=0.0)
        hint = f"nearest is {near[0]}" if near else "it has no parameters"
        raise UserError(
            f"expected a parameter {name} in the model, got none of that name ({hint}); "
            "try the model that was profiled, or profile this one"
        )
    tensor = parameters[name]
    if request.shape is not None and request.shape != tuple(tensor.shape):
        raise UserError(
            f"expected {name} of shape {list(request.shape)}, as it was profiled, got {list(tensor.shape)}; "
            "try the model that was profiled, or profile this one"
        )
    if not any(tensor is x for group in optimizer.param_groups for x in group["params"]):
        raise UserError(
            f"expected the optimizer to hold {name}, got one that does not; "
            "try apply with the optimizer that trains it, or remove its entry"
        )
    return tensor
