r"""The optimizers evidence simulates, as pure functions over arms × coordinates.

Each turns one gradient into the update it would make at learning rate 1, leaving weights where they are, so that weight
decay has no part in it. Equations are those of :mod:`gnoise.formulas`; the tests hold them against torch's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.formulas import adam_direction, ema, sgd_momentum
from gnoise.records import JsonValue

Arms = Float[np.ndarray, "arms coords"]
_LONG_AGO = 1_000_000
"""A step count at which bias correction is over: training is under way."""


@dataclass(frozen=True)
class Simulated:
    """One optimizer, long after its start.

    Attributes:
        name: as people write it, with the hyper-parameters that matter here.
        update: (gradient, momentum, mean square) to (direction, momentum). The mean square is that of the arm's own
            gradients over many other draws, what a long running average has come to; the step is minus the learning
            rate times the direction.
        divides_by_second: whether curvature is measured by √v (Adam), else by 1.
    """

    name: str
    update: Callable[[Arms, Arms, Arms], tuple[Arms, Arms]]
    divides_by_second: bool = False


def adam(betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Simulated:
    """Adam and AdamW alike.

    Args:
        betas: decays of the two moments.
        eps: added to √v.
    """

    def update(grad: Arms, momentum: Arms, mean_square: Arms) -> tuple[Arms, Arms]:
        first, second = ema(momentum, grad, betas[0]), ema(mean_square, grad * grad, betas[1])
        return adam_direction(first, second, step=_LONG_AGO, betas=betas, eps=eps), first

    return Simulated(f"Adam (betas {betas[0]:g}, {betas[1]:g})", update, divides_by_second=True)


def sgd(momentum: float = 0.0) -> Simulated:
    """SGD, with momentum or without.

    Args:
        momentum: of the buffer, without dampening, as torch has it.
    """
    decay = momentum

    def update(grad: Arms, momentum: Arms, mean_square: Arms) -> tuple[Arms, Arms]:
        buffer = sgd_momentum(momentum, grad, decay)
        return buffer, buffer

    return Simulated(f"SGD (momentum {momentum:g})" if momentum else "SGD", update)


def sign(momentum: float = 0.9) -> Simulated:
    """Sign of the moving average of gradients (signum).

    Args:
        momentum: decay of the average.

    References:
        Bernstein et al. 2018, arXiv 1802.04434.
    """
    decay = momentum

    def update(grad: Arms, momentum: Arms, mean_square: Arms) -> tuple[Arms, Arms]:
        average = ema(momentum, grad, decay)
        return np.sign(average), average

    return Simulated(f"sign (momentum {momentum:g})", update)


def simulated_optimizer(found: Mapping[str, JsonValue]) -> Simulated:
    """Choose the checkpoint's own optimizer, AdamW where it names none or one that is not simulated.

    Args:
        found: hyper-parameters as in :attr:`gnoise.records.RunInfo.optimizer`.
    """
    name = str(found.get("name", "")).lower()
    momentum = found.get("momentum", 0.0)
    if name == "sgd":
        return sgd(float(momentum) if isinstance(momentum, int | float) else 0.0)
    betas = found.get("betas")
    if name in ("adam", "adamw") and isinstance(betas, list) and len(betas) == 2:
        first, second = betas
        if isinstance(first, int | float) and isinstance(second, int | float):
            return adam((float(first), float(second)))
    return adam()
