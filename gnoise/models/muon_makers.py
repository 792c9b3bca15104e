"""Who made a Muon: implementations that step as ``torch.optim.Muon`` does, or nearly, told by their settings.

All orthogonalize with Jordan's coefficients. They differ in whether the momentum is a sum of gradients or their
average, in the factor for a matrix's shape, and in what they call things. A maker is known by *all* of its settings:
with one more it may step otherwise.

References:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al. 2025 (Moonlight),
    arXiv 2502.16982.
"""

import math
from dataclasses import dataclass

from gnoise.models.optimizer_states import MUON, Group

_BOOKS = frozenset({"params", "param_names", "initial_lr", "use_muon"})
"""What a group holds beside the settings of its step."""


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


def maker_of(group: Group) -> Maker | None:
    """Say whose Muon steps a group; ``None`` where it is another's, or no Muon.

    Args:
        group: with its settings.
    """
    if group.name != MUON:
        return None
    if "geometry" in group.settings:  # LayerwiseLR, which is plain Muon where it follows no noise
        plain = group.settings["geometry"] == "spectral" and group.settings.get("reference") == math.inf
        return _GNOISES if plain else None
    return next((maker for maker in _MAKERS if maker.settings == frozenset(group.settings) - _BOOKS), None)
