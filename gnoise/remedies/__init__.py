"""Gradient transforms, and how they get into a training run's optimizer."""

import math

from gnoise.remedies.adaptive import adagc, zclip
from gnoise.remedies.apply import apply
from gnoise.remedies.batch_schedule import NoiseScaleBatchSchedule
from gnoise.remedies.clip_norm import agc, clip_global_norm, clip_norm
from gnoise.remedies.clip_value import clip_coordinates, clip_value
from gnoise.remedies.geometry import Geometry, dual_norm, lmo, polar_factor
from gnoise.remedies.groups import multiply_lr
from gnoise.remedies.layerwise_lr import LayerwiseLR, lr_multipliers
from gnoise.remedies.momentum import momentum
from gnoise.remedies.optimizers import optimizer_for
from gnoise.remedies.param_groups import Role, param_groups_for, roles_of
from gnoise.remedies.posterior_mean import shrink_posterior_mean
from gnoise.remedies.reset_moments import reset_moments
from gnoise.remedies.shrink import shrink
from gnoise.remedies.stabilize import stabilize
from gnoise.remedies.stable_spam import adaclip, adagn
from gnoise.remedies.transform import Listed, State, Transform, chain, identity
from gnoise.remedies.wrap import Wrapped, wrap, wrapped

REMEDIES: tuple[Listed, ...] = (
    Listed("clip_value", clip_value(0.5), clip_value(math.inf), entrywise=True),
    Listed("clip_value", clip_value(), clip_value(gain=math.inf), entrywise=True, degree=1),
    Listed("clip_coordinates", clip_coordinates(2.0), clip_coordinates(math.inf), entrywise=True, degree=1),
    Listed("clip_norm", clip_norm(1.0), clip_norm(math.inf)),
    Listed("clip_global_norm", clip_global_norm(1.0), clip_global_norm(math.inf)),
    Listed("agc", agc(), agc(math.inf)),
    Listed("adagc", adagc(warmup=2), adagc(math.inf), degree=1),
    Listed("zclip", zclip(warmup=4), zclip(math.inf), degree=1),
    Listed("shrink", shrink("rational", 0.5), shrink("rational", math.inf), entrywise=True),
    Listed("shrink", shrink("quartic", 0.5), shrink("quartic", math.inf), entrywise=True),
    Listed("shrink", shrink("saturating", 0.5), shrink("saturating", math.inf), entrywise=True),
    Listed("shrink", shrink("rational"), shrink("rational", gain=math.inf), entrywise=True, degree=1),
    Listed(
        "shrink", shrink("saturating", rows=True), shrink("saturating", math.inf, rows=True), entrywise=True, degree=1
    ),
    Listed("adaclip", adaclip(), adaclip(math.inf), degree=1),
    Listed("stabilize", stabilize(), None, degree=0),
    Listed("adagn", adagn(), None, degree=0),
)
"""What there is, each in a setting that acts and in the one that does not."""

__all__ = [
    "REMEDIES",
    "Geometry",
    "LayerwiseLR",
    "Listed",
    "NoiseScaleBatchSchedule",
    "Role",
    "State",
    "Transform",
    "Wrapped",
    "adaclip",
    "adagc",
    "adagn",
    "agc",
    "apply",
    "chain",
    "clip_coordinates",
    "clip_global_norm",
    "clip_norm",
    "clip_value",
    "dual_norm",
    "identity",
    "lmo",
    "lr_multipliers",
    "momentum",
    "multiply_lr",
    "optimizer_for",
    "param_groups_for",
    "polar_factor",
    "reset_moments",
    "roles_of",
    "shrink",
    "shrink_posterior_mean",
    "stabilize",
    "wrap",
    "wrapped",
    "zclip",
]
