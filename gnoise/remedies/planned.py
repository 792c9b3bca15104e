"""From what was planned to the transform that does it."""

from collections.abc import Callable

from gnoise.export.plans import Plan
from gnoise.remedies.clip_norm import clip_global_norm, clip_norm
from gnoise.remedies.clip_value import clip_coordinates, clip_value
from gnoise.remedies.shrink import shrink
from gnoise.remedies.stabilize import stabilize
from gnoise.remedies.transform import Transform

_FUNCTIONS: dict[str, Callable[..., Transform]] = {
    "clip_coordinates": clip_coordinates,
    "clip_global_norm": clip_global_norm,
    "clip_norm": clip_norm,
    "clip_value": clip_value,
    "shrink": shrink,
    "stabilize": stabilize,
}


def planned_transform(plan: Plan) -> Transform:
    """Make the transform of a plan.

    Raises:
        UserError: settings that make no sense (exit 2).
    """
    return _FUNCTIONS[plan.function](*plan.args, **plan.settings)
