r"""What another learning rate for one layer, or for each, would buy the whole model.

With $n_l = \mathrm{E}\langle G_l, u_l\rangle$ and $d_l = \mathrm{E}\|u_l\|_H^2$, multipliers $a_l$ on the layers' rates
make the model's progress $(\sum a_l n_l)^2 / \sum a_l^2 d_l$. It takes curvature as comparable across layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gnoise.stats.evidence.arms import NONE, Arm
from gnoise.stats.evidence.progress import Progress

LAYERWISE_LR = "layerwise_lr"
_QUIETEST = 1e-3
"""Of the largest ratio: what a layer gets whose progress along the gradient cannot be told from zero."""
_NOTHING = 1e-100
"""Of the largest size: below it a layer does not move."""
PerLayer = Float[np.ndarray, "layers ..."]


def _rate(multiplier: float) -> Arm:
    return Arm(
        LAYERWISE_LR,
        f"rate × {multiplier:g}, gain of the model",
        lambda g: g.values,
        lambda _: {"lr_multiplier": multiplier},
        rate=multiplier,
    )


def _every(power: float, words: str) -> Arm:
    return Arm(LAYERWISE_LR, f"every layer's rate by {words}", lambda g: g.values, rate=power, for_layer=False)


RATES: tuple[Arm, ...] = tuple(_rate(multiplier) for multiplier in (0.125, 0.25, 0.5, 0.7))
"""Multipliers of one layer's learning rate; gradients stay as they are."""
EVERY_RATE: tuple[Arm, ...] = (_every(0.5, "√(signal/noise)"), _every(1.0, "signal/noise"))
"""Multipliers of all layers' rates at once, by a power of $n_l/d_l$: 1 is the best there is, ½ is as LANTON has it."""


def rate_progress(whole: Progress, layer: Progress, arms: Sequence[Arm] = RATES) -> Progress:
    r"""Let one layer have another learning rate and all others their own.

    Args:
        whole: of the model, the layer included.
        layer: scaled to its whole tensor.
        arms: their :attr:`Arm.rate` is the multiplier.

    Returns:
        the model's progress with each multiplier, against a common rate.

    References:
        The gain of multipliers is this project's; Hao et al. 2025 (LANTON), arXiv 2510.14009, for making noisy layers
        slower.
    """
    factors = np.array([1.0, *(arm.rate or 1.0 for arm in arms)])

    def mixed(of_model: np.ndarray, of_layer: np.ndarray, power: int) -> np.ndarray:
        """Take the arm axis, the last but one, from the plain arm alone."""
        return of_model[..., :1, :] + (factors[:, None] ** power - 1.0) * of_layer[..., :1, :]

    return replace(
        whole,
        arms=(NONE, *arms),
        along=mixed(whole.along, layer.along, 1),
        size=mixed(whole.size, layer.size, 2),
        steady=mixed(whole.steady[:, None], layer.steady[:, None], 2)[:, 0],
        along_left=mixed(whole.along_left, layer.along_left, 1),
        size_left=mixed(whole.size_left, layer.size_left, 2),
        params=({}, *({"lr_multiplier": arm.rate} for arm in arms)),
    )


def every_rate_progress(parts: Sequence[Progress], arms: Sequence[Arm] = EVERY_RATE) -> Progress:
    """Let every layer have a rate by its own signal over noise, read off one fold and judged on the other.

    Args:
        parts: of all layers, each scaled to its whole tensor.
        arms: their :attr:`Arm.rate` is the power of $n_l/d_l$.
    """
    along, size = (np.stack([getattr(part, name)[0] for part in parts]) for name in ("along", "size"))
    along_left, size_left = (
        np.stack([getattr(part, name)[:, 0] for part in parts]) for name in ("along_left", "size_left")
    )
    steady = np.stack([part.steady[0] for part in parts])
    powers = [0.0, *(arm.rate or 0.0 for arm in arms)]

    def summed(make: Callable[[float], PerLayer]) -> np.ndarray:
        return np.stack([make(power).sum(axis=0) for power in powers])

    def factors(n: PerLayer, d: PerLayer, power: float) -> PerLayer:
        return _multipliers(n, d, power)[..., ::-1]  # the last axis is the folds: each takes the other's

    return replace(
        parts[0],
        arms=(NONE, *arms),
        along=summed(lambda p: factors(along, size, p) * along),
        size=summed(lambda p: factors(along, size, p) ** 2 * size),
        steady=summed(lambda p: factors(along, size, p).mean(axis=-1) ** 2 * steady),
        steady_left=np.sum([part.steady_left for part in parts], axis=0),
        along_left=np.moveaxis(summed(lambda p: factors(along_left, size_left, p) * along_left), 0, 1),
        size_left=np.moveaxis(summed(lambda p: factors(along_left, size_left, p) ** 2 * size_left), 0, 1),
        params=tuple({} for _ in powers),
        draws=min(part.draws for part in parts),
    )


def _multipliers(along: PerLayer, size: PerLayer, power: float) -> PerLayer:
    """Compute (n/d)^power relative to the largest, with a floor for layers whose n or d is not above zero."""
    moves = size > _NOTHING * size.max(axis=0)
    ratio = np.maximum(np.divide(along, size, out=np.zeros_like(along), where=moves), 0.0)
    largest = np.maximum(ratio.max(axis=0), np.finfo(np.float64).tiny)
    return np.clip(ratio / largest, _QUIETEST, None) ** power
