"""Remedies as a matrix meets them on its way into Muon."""

from collections.abc import Callable
from dataclasses import dataclass

from gnoise.formulas import Array, clip_value, shrink_rational, shrink_saturating
from gnoise.records import Kind, Layer
from gnoise.stats.evidence.arms import ARMS, NONE, Arm

GAMMAS = (0.6, 0.999)
"""Decays of the stabilizer's averages."""


@dataclass(frozen=True)
class Met:
    """What is known of a matrix when a draw comes in.

    Attributes:
        scale: median of the non-zero |noise| entries so far.
        median_norm: of draws so far.
        norm: ‖g‖ of this one.
        stabilized: the norm that the stabilizer would give it.
    """

    scale: float
    median_norm: float
    norm: float
    stabilized: float


@dataclass(frozen=True)
class MatrixArm:
    """One arm of :data:`gnoise.stats.evidence.ARMS`, for whole matrices, NumPy's and torch's alike.

    Attributes:
        arm: what it is called, and its parameters.
        treat: a gradient and what is known of its matrix in; what Muon gets out.
    """

    arm: Arm
    treat: Callable[[Array, Met], Array]


def is_followed(layer: Layer) -> bool:
    """Whether Muon steps this layer: a hidden matrix."""
    return len(layer.shape) == 2 and layer.kind not in (Kind.EMBEDDING, Kind.HEAD, Kind.NORM, Kind.BIAS)


def _arm(setting: str) -> Arm:
    return next(arm for arm in ARMS if arm.setting == setting)


MATRIX_ARMS: tuple[MatrixArm, ...] = (
    MatrixArm(NONE, lambda g, met: g),
    MatrixArm(_arm("clip at 3 median |noise|"), lambda g, met: clip_value(g, 3.0 * met.scale)),
    MatrixArm(_arm("clip at 6 median |noise|"), lambda g, met: clip_value(g, 6.0 * met.scale)),
    MatrixArm(_arm("rational at 8 median |noise|"), lambda g, met: shrink_rational(g, 8.0 * met.scale)),
    MatrixArm(_arm("saturating at 4 median |noise|"), lambda g, met: shrink_saturating(g, 4.0 * met.scale)),
    MatrixArm(
        next(arm for arm in ARMS if arm.remedy == "clip_norm" and arm.setting.startswith("1 ")),
        lambda g, met: g * min(1.0, met.median_norm / met.norm),
    ),
    MatrixArm(_arm(f"gammas {GAMMAS[0]:g}, {GAMMAS[1]:g}"), lambda g, met: g * (met.stabilized / met.norm)),
)
"""Each needs a momentum of its own while collecting, so that they are few; the first is none."""
