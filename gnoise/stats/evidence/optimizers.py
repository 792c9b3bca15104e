r"""The optimizers evidence simulates: what their moments do with a gradient, and the step they make of them.

Each turns gradients into the updates it would make at learning rate 1, leaving weights where they are, so that weight
decay has no part in it. Equations are those of :mod:`gnoise.formulas`; the tests hold them against torch's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gnoise.formulas import adam_ratio, ema, sgd_momentum
from gnoise.records import JsonValue

Moments = Float[np.ndarray, "*arms coords"]


@dataclass(frozen=True)
class Simulated:
    """One optimizer, long after its start.

    Attributes:
        name: as people write it, with the hyper-parameters that matter here.
        momentum: decay of the first moment.
        dampened: whether the first moment is an average of gradients, else their decaying sum.
        second_decay: of Adam's v; ``None`` where nothing is divided by √v.
        eps: added to √v.
        signs_only: whether the step is the sign of the first moment.
    """

    name: str
    momentum: float
    dampened: bool = True
    second_decay: float | None = None
    eps: float = 1e-8
    signs_only: bool = False

    def next_first(self, first: Moments, grad: Moments) -> Moments:
        """Put one gradient into the first moment."""
        return ema(first, grad, self.momentum) if self.dampened else sgd_momentum(first, grad, self.momentum)

    def next_second(self, second: Moments, grad: Moments) -> Moments:
        """Put one gradient into the second moment; what comes in comes out where there is none."""
        return second if self.second_decay is None else ema(second, grad * grad, self.second_decay)

    def direction(self, first: Moments, second: Moments) -> Moments:
        """Make the step, to be multiplied by minus the learning rate.

        Args:
            first: the first moment, the present gradient included.
            second: the second moment, likewise; not looked at where there is none.
        """
        if self.signs_only:
            return np.sign(first)
        if self.second_decay is None:
            return first
        return adam_ratio(first, second, self.eps)


def adam(betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Simulated:
    """Adam and AdamW alike.

    Args:
        betas: decays of the two moments.
        eps: added to √v.
    """
    return Simulated(f"Adam (betas {betas[0]:g}, {betas[1]:g})", betas[0], second_decay=betas[1], eps=eps)


def sgd(momentum: float = 0.0) -> Simulated:
    """SGD, with momentum or without.

    Args:
        momentum: of the buffer, without dampening, as torch has it.
    """
    return Simulated(f"SGD (momentum {momentum:g})" if momentum else "SGD", momentum, dampened=False)


def sign(momentum: float = 0.9) -> Simulated:
    """Sign of the moving average of gradients (signum).

    Args:
        momentum: decay of the average.

    References:
        Bernstein et al. 2018, arXiv 1802.04434.
    """
    return Simulated(f"sign (momentum {momentum:g})", momentum, signs_only=True)


OPTIMIZERS = ("adamw", "sgd", "sign", "muon")
"""What remedies can be judged under."""
_SIGNS = ("lion", "signum", "signsgd")


@dataclass(frozen=True)
class Spectral:
    """Muon: momentum, then the update's singular values made equal.

    Attributes:
        momentum: decay of the average of gradients; the update looks one gradient ahead (Nesterov).

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """

    momentum: float = 0.95

    @property
    def name(self) -> str:
        """As people write it."""
        return f"Muon (momentum {self.momentum:g})"

    @property
    def horizon(self) -> float:
        r"""Gradients that its average is worth: one over the sum of their squared weights.

        The latest has $1 - \mu^2$, the one k before it $(1 - \mu)\mu^{k+1}$.
        """
        decay = self.momentum
        return 1.0 / ((1.0 - decay**2) ** 2 + decay**4 * (1.0 - decay) / (1.0 + decay))

    def updates(self, draws: int) -> int:
        """Count the updates worth looking at in so many draws: four a horizon, as the latest draw weighs most.

        Args:
            draws: that follow each other.
        """
        return max(1, round(4.0 * draws / self.horizon))

    def overlap(self, draws: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Correlate the noise of two averages that are so many draws apart, one or more; 1 for none.

        Args:
            draws: not negative.
        """
        decay = self.momentum
        apart = (1.0 - decay**2) * (1.0 - decay) * decay + (1.0 - decay) * decay**4 / (1.0 + decay)
        return np.where(draws == 0, 1.0, self.horizon * apart * decay**draws)


def spectral_optimizer(found: Mapping[str, JsonValue], under: str = "") -> Spectral | None:
    """Say whether hidden matrices are stepped by Muon, and with which momentum.

    Args:
        found: hyper-parameters as in :attr:`gnoise.records.RunInfo.optimizer`.
        under: :attr:`gnoise.records.RunInfo.judged_under`.
    """
    own = str(found.get("name", "")).lower()
    if (under or own) != "muon":
        return None
    momentum = found.get("momentum") if own == "muon" else None
    return Spectral(float(momentum)) if isinstance(momentum, int | float) else Spectral()


def is_simulated(name: str) -> bool:
    """Tell whether a checkpoint's optimizer is one that remedies can be judged under as it is.

    Args:
        name: of it, however spelt; empty where it is not known.
    """
    return name.lower() in ("adam", *OPTIMIZERS, *_SIGNS)


def simulated_optimizer(found: Mapping[str, JsonValue], under: str = "") -> Simulated:
    """Choose the checkpoint's own optimizer, AdamW where it names none or one that is not simulated.

    Args:
        found: hyper-parameters as in :attr:`gnoise.records.RunInfo.optimizer`.
        under: :attr:`gnoise.records.RunInfo.judged_under`; of its own hyper-parameters where that is the checkpoint's
            too. Under Muon it is AdamW, which steps whatever is no hidden matrix.
    """
    name = str(found.get("name", "")).lower()
    if under in ("sgd", "sign") and under != name:
        return sgd(0.9) if under == "sgd" else sign()
    if under:
        name = under if under == name else "adamw"
    momentum = found.get("momentum", 0.0)
    if name == "sgd":
        return sgd(float(momentum) if isinstance(momentum, int | float) else 0.0)
    betas = found.get("betas")
    pair = betas if isinstance(betas, list) and len(betas) == 2 else [None, None]
    first, second = pair
    if not (isinstance(first, int | float) and isinstance(second, int | float)):
        return sign() if name in _SIGNS else adam()
    if name in _SIGNS:
        return sign(float(second))
    eps = found.get("eps", 1e-8)
    if name in ("adam", "adamw", "muon", ""):
        return adam((float(first), float(second)), float(eps) if isinstance(eps, int | float) else 1e-8)
    return adam()
