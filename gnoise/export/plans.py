"""From checked requests to what is called on which layers: one plan a wrap."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gnoise.errors import UserError
from gnoise.export.requests import Request
from gnoise.records import JsonValue, Remedy

Setting = str | float | bool | list[float] | tuple[float, float] | None
_PARAMS: dict[Remedy, tuple[str, ...]] = {
    Remedy.CLIP: ("clip_value", "coordinates"),
    Remedy.SHRINK: ("form", "scale", "rows"),
    Remedy.CLIP_NORM: ("clip_norm",),
    Remedy.CLIP_GLOBAL_NORM: ("clip_global_norm",),
    Remedy.STABILIZE: ("gammas", "max_ratio"),
    Remedy.LAYERWISE_LR: ("lr_multiplier",),
}
_NORMS = (Remedy.CLIP_NORM, Remedy.CLIP_GLOBAL_NORM)
_SCALES = {Remedy.CLIP: "clip_value", Remedy.SHRINK: "scale"}


@dataclass(frozen=True)
class Plan:
    """One wrap to be made.

    Attributes:
        name: key of its state in a checkpoint.
        function: of :mod:`gnoise.remedies` that makes the transform.
        args: its positional arguments.
        settings: its keyword arguments.
        layers: parameter names, in order; ``None`` for every tensor that no plan names.
    """

    name: str
    function: str
    args: tuple[Setting, ...]
    settings: Mapping[str, Setting]
    layers: tuple[str, ...] | None

    @property
    def call(self) -> str:
        """The function's call as Python code."""
        words = [repr(x) for x in self.args] + [f"{key}={value!r}" for key, value in self.settings.items()]
        return f"{self.function}({', '.join(words)})"


def make_plans(requests: Sequence[Request]) -> list[Plan]:
    """Put requests of one remedy, setting and way to get the scale together, in the order they come.

    A layer's own ``clip``, ``shrink`` or ``stabilize`` goes before the model's. Multipliers of learning rates are not
    wraps: see :func:`requested_multipliers`.

    Raises:
        UserError: unknown params or settings that make no sense (exit 2).
    """
    for request in requests:
        _check(request)
    _check_once(requests)
    together: dict[str, list[Request]] = {}
    for request in requests:
        if request.remedy is not Remedy.LAYERWISE_LR:
            together.setdefault(_name(request), []).append(request)
    return [_plan(name, alike) for name, alike in together.items()]


def requested_multipliers(requests: Sequence[Request]) -> dict[str, float]:
    """Return the learning-rate multiplier of each layer that has one.

    Raises:
        UserError: one is not above zero, or is for the whole model (exit 2).
    """
    return {
        str(request.layer): _positive(request, "lr_multiplier", None)
        for request in requests
        if request.remedy is Remedy.LAYERWISE_LR
    }


def _check(request: Request) -> None:
    unknown = set(request.params) - set(_PARAMS[request.remedy])
    if unknown:
        raise UserError(
            f"expected params {', '.join(_PARAMS[request.remedy])} for {request.remedy}, "
            f"got {', '.join(sorted(unknown))}; try exporting the run again"
        )
    if request.layer is not None and request.remedy is Remedy.CLIP_GLOBAL_NORM:
        raise UserError(f"expected the whole model for clip_global_norm, got {request.layer}; try clip_norm")
    if request.layer is None and request.remedy is Remedy.LAYERWISE_LR:
        raise UserError("expected a layer for layerwise_lr, got the whole model; try changing the learning rate itself")


def _check_once(requests: Sequence[Request]) -> None:
    seen: set[tuple[str | None, Remedy]] = set()
    for request in requests:
        key = (request.layer, request.remedy)
        if key in seen:
            raise UserError(
                f"expected {request.remedy} once for {_where(request)}, got it twice; try removing one from the file"
            )
        seen.add(key)


def _plan(name: str, requests: Sequence[Request]) -> Plan:
    first = requests[0]
    layers = None if first.layer is None else tuple(str(request.layer) for request in requests)
    if first.remedy is Remedy.STABILIZE:
        settings: dict[str, Setting] = {"max_ratio": _positive(first, "max_ratio", 1.0)}
        return Plan(name, "stabilize", (_gammas(first),), settings, layers)
    if _by_coordinate(first):
        return Plan(name, "clip_coordinates", (_positive(first, "coordinates", None),), {}, layers)
    if first.remedy in _NORMS:
        return Plan(name, str(first.remedy), (_positive(first, str(first.remedy), None),), {}, layers)
    scale: Setting = _scale(first)
    if scale is not None and layers is not None:
        scale = [_positive(request, _SCALES[first.remedy], None) for request in requests]
    if first.remedy is Remedy.CLIP:
        return Plan(name, "clip_value", (scale,), {}, layers)
    return Plan(name, "shrink", (_form(first), scale), {"rows": True} if _rows(first) else {}, layers)


def _name(request: Request) -> str:
    if request.remedy is Remedy.STABILIZE:
        first, second = _gammas(request)
        kind = f"{first:g}:{second:g}:{_positive(request, 'max_ratio', 1.0):g}"
    elif _by_coordinate(request):
        kind = f"coordinates:{_positive(request, 'coordinates', None):g}"
    elif request.remedy in _NORMS:
        kind = f"{_positive(request, str(request.remedy), None):g}"
    else:
        kind = "tracked" if _scale(request) is None else "given"
    if request.remedy is Remedy.SHRINK:
        kind = f"{_form(request)}:{'rows:' if _rows(request) else ''}{kind}"
    return f"apply:{request.remedy}:{kind}" + (":others" if request.layer is None else "")


def _by_coordinate(request: Request) -> bool:
    return request.remedy is Remedy.CLIP and request.params.get("coordinates") is not None


def _form(request: Request) -> str:
    return str(request.params.get("form", "rational"))


def _rows(request: Request) -> bool:
    value = request.params.get("rows", False)
    if not isinstance(value, bool):
        raise UserError(f"expected rows to be true or false for {_where(request)}, got {value!r}; try true")
    return value


def _scale(request: Request) -> float | None:
    key = _SCALES[request.remedy]
    return None if request.params.get(key) is None else _positive(request, key, None)


def _gammas(request: Request) -> tuple[float, float]:
    match request.params.get("gammas", [0.6, 0.999]):
        case [int() | float() as first, int() | float() as second]:
            return float(first), float(second)
        case other:
            raise UserError(f"expected two gammas for {_where(request)}, got {other!r}; try [0.6, 0.999]")


def _positive(request: Request, key: str, default: float | None) -> float:
    value: JsonValue = request.params.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= sys.float_info.max:
        raise UserError(f"expected {key} above 0 for {_where(request)}, got {value!r}; try exporting the run again")
    return float(value)


def _where(request: Request) -> str:
    return request.layer or "the model"
