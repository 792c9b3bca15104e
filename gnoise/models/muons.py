"""Muon of several makers and the AdamW beside it, told by their settings, in the terms of ``torch.optim``.

All orthogonalize with Jordan's coefficients. They differ in whether the momentum is a sum of gradients or their
average, in the factor for a matrix's shape, and in what they call things. A maker is known by *all* of its settings:
with one more it may step otherwise.

References:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al. 2025 (Moonlight),
    arXiv 2502.16982.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gnoise.models.optimizer_states import MUON, Group, as_number, number_in

_BOOKS = frozenset({"params", "param_names", "initial_lr", "use_muon"})
"""What a group holds beside the settings of its step."""
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_TORCHS_NAMES = {"moment1": "exp_avg", "moment2": "exp_avg_sq"}


@dataclass(frozen=True)
class MuonStep:
    """A step of ``torch.optim.Muon``; attributes are its arguments."""

    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    ns_steps: int
    ns_coefficients: tuple[float, float, float]
    adjust_lr_fn: str


@dataclass(frozen=True)
class AdamWStep:
    """A step of ``torch.optim.AdamW``; attributes are its arguments."""

    lr: float
    weight_decay: float
    betas: tuple[float, float]
    eps: float


@dataclass(frozen=True)
class Maker:
    """One implementation of Muon.

    Attributes:
        settings: that its groups have.
        sums: whether its momentum is a decaying sum, else an average.
        adjust_lr_fn: its factor for the shape, as torch calls it, where its groups do not say.
        flattens: whether it steps a kernel as the matrix of its outputs, that factor included.
    """

    settings: frozenset[str]
    sums: bool
    adjust_lr_fn: str
    flattens: bool


_MAKERS = (
    # torch.optim
    Maker(
        frozenset({"lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"}),
        sums=False,
        adjust_lr_fn="original",
        flattens=False,
    ),
    # Jordan's, and modded-nanogpt's, of 2025
    Maker(frozenset({"lr", "weight_decay", "momentum"}), sums=False, adjust_lr_fn="original", flattens=False),
    # Jordan's of 2024
    Maker(
        frozenset({"lr", "momentum", "nesterov", "ns_steps", "adamw_lr_ratio", "adamw_betas", "adamw_eps", "adamw_wd"}),
        sums=True,
        adjust_lr_fn="original",
        flattens=True,
    ),
    # Moonlight
    Maker(
        frozenset({"lr", "wd", "momentum", "nesterov", "ns_steps", "adamw_betas", "adamw_eps"}),
        sums=True,
        adjust_lr_fn="match_rms_adamw",
        flattens=False,
    ),
)
_GNOISES = Maker(frozenset({"geometry"}), sums=False, adjust_lr_fn="original", flattens=True)


def muon_step(group: Group, shape: tuple[int, ...]) -> MuonStep | None:
    """Read how a group of Muon steps its parameters.

    Args:
        group: of it.
        shape: of the parameter.

    Returns:
        ``None`` where torch's Muon would step it otherwise.
    """
    maker, settings = _maker(group), group.settings
    if maker is None or len(shape) < 2 or (len(shape) > 2 and not maker.flattens):
        return None
    return MuonStep(
        lr=rate_in(settings),
        weight_decay=number_in(settings, "weight_decay", "wd") or 0.0,
        momentum=number_in(settings, "momentum") or 0.0,
        nesterov=bool(settings.get("nesterov", True)),
        ns_steps=int(number_in(settings, "ns_steps") or 5),
        ns_coefficients=_coefficients(settings),
        adjust_lr_fn=str(settings.get("adjust_lr_fn") or maker.adjust_lr_fn),
    )


def adamw_step(group: Group) -> AdamWStep | None:
    """Read how AdamW steps what Muon does not, in a group of its own or in one with Muon.

    Args:
        group: whose settings say so.

    Returns:
        ``None`` where torch's AdamW would step it otherwise.
    """
    settings = group.settings
    betas = betas_in(settings)
    eps = number_in(settings, "eps", "adamw_eps")
    decay = number_in(settings, "adamw_wd", "weight_decay", "wd") or 0.0
    coupled = group.name == "Adam" and decay > 0.0
    if group.name not in ("AdamW", "Adam", MUON) or coupled or settings.get("amsgrad") or settings.get("maximize"):
        return None
    if len(betas) != 2 or eps is None:
        return None
    ratio = number_in(settings, "adamw_lr_ratio")
    rate = rate_in(settings) * (1.0 if ratio is None else ratio)
    return AdamWStep(rate, decay, (betas[0], betas[1]), eps)


def in_torchs_terms(group: Group, entry: Mapping[str, object]) -> dict[str, object]:
    """Rename what is kept of a parameter as torch does, a sum of gradients turned into their average.

    Args:
        group: which the parameter is in.
        entry: what is kept.
    """
    kept = {_TORCHS_NAMES.get(key, key): value for key, value in entry.items()}
    maker, buffer = _maker(group), kept.get("momentum_buffer")
    if maker is not None and maker.sums and isinstance(buffer, Tensor):
        kept["momentum_buffer"] = buffer * (1.0 - (number_in(group.settings, "momentum") or 0.0))
    return kept


def is_muons(group: Group, entry: Mapping[str, object]) -> bool:
    """Tell whether Muon steps a parameter, or AdamW in the same optimizer.

    Args:
        group: which the parameter is in.
        entry: what is kept, in torch's terms.
    """
    said = entry.get("use_muon")
    return said if isinstance(said, bool) else group.name == MUON and "exp_avg_sq" not in entry


def betas_in(settings: Mapping[str, object]) -> list[float]:
    """Return Adam's decays, under any of their names; empty without."""
    return _numbers(settings.get("betas", settings.get("adamw_betas")))


def rate_in(settings: Mapping[str, object]) -> float:
    """Return the learning rate, or the one its schedule began with where that has ended at zero."""
    return number_in(settings, "lr") or number_in(settings, "initial_lr") or 0.0


def _maker(group: Group) -> Maker | None:
    if group.name != MUON:
        return None
    if "geometry" in group.settings:  # LayerwiseLR, which is plain Muon where it follows no noise
        plain = group.settings["geometry"] == "spectral" and group.settings.get("reference") == math.inf
        return _GNOISES if plain else None
    return next((maker for maker in _MAKERS if maker.settings == frozenset(group.settings) - _BOOKS), None)


def _coefficients(settings: Mapping[str, object]) -> tuple[float, float, float]:
    found = _numbers(settings.get("ns_coefficients"))
    return (found[0], found[1], found[2]) if len(found) == 3 else _COEFFICIENTS


def _numbers(value: object) -> list[float]:
    found = [as_number(one) for one in value] if isinstance(value, (tuple, list)) else []
    return [one for one in found if one is not None] if None not in found else []
