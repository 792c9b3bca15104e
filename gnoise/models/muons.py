"""How Muon steps a matrix, and AdamW what is beside it, in the terms of ``torch.optim`` whoever made them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gnoise.models.muon_makers import maker_of
from gnoise.models.optimizer_states import MUON, Group, as_number, number_in

_NS_STEPS = 5
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


def muon_step(group: Group, shape: tuple[int, ...]) -> MuonStep | None:
    """Read how a group of Muon steps its parameters.

    Args:
        group: of it, its settings sound.
        shape: of the parameter.

    Returns:
        ``None`` where torch's Muon would step it otherwise.
    """
    maker, settings, count = maker_of(group), group.settings, number_in(group.settings, "ns_steps")
    if maker is None or len(shape) < 2 or (len(shape) > 2 and not maker.flattens):
        return None
    return MuonStep(
        lr=rate_in(settings),
        weight_decay=number_in(settings, "weight_decay", "wd") or 0.0,
        momentum=number_in(settings, "momentum") or 0.0,
        nesterov=bool(settings.get("nesterov", True)),
        ns_steps=_NS_STEPS if count is None else int(count),
        ns_coefficients=_coefficients(settings),
        adjust_lr_fn=str(settings.get("adjust_lr_fn") or maker.adjust_lr_fn),
    )


def adamw_step(group: Group) -> AdamWStep | None:
    """Read how AdamW steps what Muon does not, in a group of its own or in one with Muon.

    Args:
        group: whose settings say so, and are sound.

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
    maker, buffer = maker_of(group), kept.get("momentum_buffer")
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


def _coefficients(settings: Mapping[str, object]) -> tuple[float, float, float]:
    found = _numbers(settings.get("ns_coefficients"))
    return (found[0], found[1], found[2]) if len(found) == 3 else _COEFFICIENTS


def _numbers(value: object) -> list[float]:
    found = [as_number(one) for one in value] if isinstance(value, (tuple, list)) else []
    return [one for one in found if one is not None] if None not in found else []
