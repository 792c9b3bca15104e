"""Under which optimizer remedies were judged, in words, where it is not surely the checkpoint's own."""

from collections.abc import Mapping

from gnoise.records import JsonValue
from gnoise.stats.evidence.optimizers import is_simulated, simulated_optimizer, spectral_optimizer


def judged_under(found: Mapping[str, JsonValue], under: str = "") -> str:
    """``under Muon (momentum 0.95), not the checkpoint's AdamW``; empty where it is the checkpoint's own.

    Args:
        found: hyper-parameters as in :attr:`gnoise.records.RunInfo.optimizer`.
        under: :attr:`gnoise.records.RunInfo.judged_under`.
    """
    own = str(found.get("name", ""))
    alike = "adamw" if own.lower() == "adam" else own.lower()
    if alike == under if under else is_simulated(own):
        return ""
    spectral = spectral_optimizer(found, under)
    words = f"under {simulated_optimizer(found, under).name if spectral is None else spectral.name}"
    if not own:
        return words if under else f"{words}, as the checkpoint names no optimizer"
    return f"{words}, not the checkpoint's {own}"


def default_notice(found: Mapping[str, JsonValue], under: str = "") -> str:
    """Say that remedies will be judged under AdamW for want of better, and what to type; empty where they will not.

    Args:
        found: hyper-parameters that were found in a checkpoint.
        under: the optimizer asked for; empty for the checkpoint's own.
    """
    own = str(found.get("name", ""))
    if under or is_simulated(own):
        return ""
    why = f"the checkpoint's {own} is not simulated" if own else "the checkpoint names no optimizer"
    return f"{why}: remedies are judged under AdamW; try --optimizer muon, sgd or sign where that is nearer"
