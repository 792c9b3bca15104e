"""Put recommendations into effect inside a training run's own optimizer."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from gnoise.errors import UserError
from gnoise.records import JsonValue, Remedy
from gnoise.remedies.clip_value import clip_value
from gnoise.remedies.documents import Request, load_requests
from gnoise.remedies.groups import multiply_lr
from gnoise.remedies.layerwise_lr import LayerwiseLR
from gnoise.remedies.shrink import shrink
from gnoise.remedies.stabilize import stabilize
from gnoise.remedies.transform import Transform
from gnoise.remedies.wrap import wrap, wrapped

_PARAMS: dict[Remedy, tuple[str, ...]] = {
    Remedy.CLIP: ("clip_value",),
    Remedy.SHRINK: ("form", "scale", "rows"),
    Remedy.STABILIZE: ("gammas", "max_ratio"),
    Remedy.LAYERWISE_LR: ("lr_multiplier",),
}
_WRAPPERS = ("module", "_orig_mod")


@dataclass
class _Plan:
    """One wrap to be made: tensors of one remedy and setting, with the scale of each where it is given."""

    request: Request
    parameters: list[Tensor] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)


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
        optimizer: holds every parameter concerned; changed in place.

    Returns:
        the same optimizer.

    Raises:
        UserError: unreadable, another format or a newer version (exit 3); a layer the model does not have, a
            parameter the optimizer does not have, settings that make no sense, or applied twice (exit 2).
            Nothing is changed then.
    """
    requests = load_requests(recommendations)
    slowed = any("lr_multiplier" in group for group in optimizer.param_groups)
    if slowed or any(name.startswith("apply:") for name in wrapped(optimizer)):
        raise UserError(
            "expected an optimizer without recommendations, got one that has some; try apply on a fresh optimizer"
        )
    tensors = _parameters(model)
    targets = [(request, _target(request, tensors, optimizer)) for request in requests]
    plans = _plans(targets, [x for group in optimizer.param_groups for x in group["params"]])
    multipliers = {
        tensor: _positive(request, "lr_multiplier", None)
        for request, tensor in targets
        if request.remedy is Remedy.LAYERWISE_LR and tensor is not None
    }
    transforms = {name: _transform(plan) for name, plan in plans.items()}
    _slow_down(optimizer, multipliers)
    for name, transform in transforms.items():
        wrap(optimizer, transform, select=plans[name].parameters, name=name)
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


def _target(request: Request, tensors: Mapping[str, Tensor], optimizer: Optimizer) -> Tensor | None:
    unknown = set(request.params) - set(_PARAMS[request.remedy])
    if unknown:
        raise UserError(
            f"expected params {', '.join(_PARAMS[request.remedy])} for {request.remedy}, "
            f"got {', '.join(sorted(unknown))}; try exporting the run again"
        )
    if request.layer is None:
        if request.remedy is Remedy.LAYERWISE_LR:
            raise UserError(
                "expected a layer for layerwise_lr, got the whole model; try changing the learning rate itself"
            )
        return None
    if request.layer not in tensors:
        near = difflib.get_close_matches(request.layer, tensors, n=1, cutoff=0.0)
        hint = f"nearest is {near[0]}" if near else "it has no parameters"
        raise UserError(
            f"expected a parameter {request.layer} in the model, got none of that name ({hint}); "
            "try the model that was profiled, or profile this one"
        )
    tensor = tensors[request.layer]
    if not any(tensor is x for group in optimizer.param_groups for x in group["params"]):
        raise UserError(
            f"expected the optimizer to hold {request.layer}, got one that does not; "
            "try apply with the optimizer that trains it, or remove its entry"
        )
    return tensor


def _plans(targets: Sequence[tuple[Request, Tensor | None]], every: Sequence[Tensor]) -> dict[str, _Plan]:
    plans: dict[str, _Plan] = {}
    own = [(r, t) for r, t in targets if t is not None and r.remedy is not Remedy.LAYERWISE_LR]
    seen = {id(tensor) for _, tensor in own}
    if len(seen) < len(own):
        raise UserError("expected one entry-wise or norm remedy a layer, got several; try removing one from the file")
    rest = [tensor for tensor in every if id(tensor) not in seen]
    for request, tensor in targets:
        if request.remedy is Remedy.LAYERWISE_LR:
            continue
        plan = plans.setdefault(_name(request), _Plan(request))
        chosen = rest if tensor is None else [tensor]
        plan.parameters += chosen
        scale = _scale(request)
        if scale is not None:
            plan.scales += [scale] * len(chosen)
    return {name: plan for name, plan in plans.items() if plan.parameters}


def _name(request: Request) -> str:
    """Return the key of the state: one a remedy, setting, and way to get the scale."""
    params = request.params
    if request.remedy is Remedy.STABILIZE:
        first, second = _gammas(request)
        return f"apply:stabilize:{first:g}:{second:g}:{_positive(request, 'max_ratio', 1.0):g}"
    kind = f":{params.get('form', 'rational')}" if request.remedy is Remedy.SHRINK else ""
    kind += ":rows" if _rows(request) else ""
    return f"apply:{request.remedy}{kind}:{'tracked' if _scale(request) is None else 'given'}"


def _transform(plan: _Plan) -> Transform:
    request, scales = plan.request, plan.scales or None
    if request.remedy is Remedy.CLIP:
        return clip_value(scales)
    if request.remedy is Remedy.SHRINK:
        return shrink(str(request.params.get("form", "rational")), scales, rows=_rows(request))
    return stabilize(_gammas(request), max_ratio=_positive(request, "max_ratio", 1.0))


def _scale(request: Request) -> float | None:
    key = {Remedy.CLIP: "clip_value", Remedy.SHRINK: "scale"}.get(request.remedy)
    if key is None or request.params.get(key) is None:
        return None
    return _positive(request, key, None)


def _rows(request: Request) -> bool:
    value = request.params.get("rows", False)
    if not isinstance(value, bool):
        raise UserError(f"expected rows to be true or false for {request.layer}, got {value!r}; try true")
    return value


def _gammas(request: Request) -> tuple[float, float]:
    match request.params.get("gammas", [0.6, 0.999]):
        case [int() | float() as first, int() | float() as second]:
            return float(first), float(second)
        case other:
            raise UserError(f"expected two gammas for {request.layer or 'the model'}, got {other!r}; try [0.6, 0.999]")


def _positive(request: Request, key: str, default: float | None) -> float:
    value = request.params.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
        raise UserError(
            f"expected {key} above 0 for {request.layer or 'the model'}, got {value!r}; try exporting the run again"
        )
    return float(value)
