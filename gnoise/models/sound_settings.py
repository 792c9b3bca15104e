"""Settings of Muon and AdamW that no step can be taken with, as damaged files and other makers have them."""

import math
from collections.abc import Callable, Mapping

from gnoise.models.optimizer_states import as_number

_MOST_STEPS = 99
"""Of Newton–Schulz; torch's own takes no more."""
_SHOWN = 40


def unsound(settings: Mapping[str, object]) -> str:
    """Find the first setting that has no value for it, as ``name value``; empty where all have.

    Args:
        settings: of a group; those that steps do not read may be anything.
    """
    found = next((key for key, sound in _SOUND.items() if key in settings and not sound(settings[key])), None)
    return "" if found is None else f"{found} {_shown(settings[found])}"


def _shown(value: object) -> str:
    said = " ".join(repr(value).split())
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"


def _is_size(value: object) -> bool:
    number = as_number(value)
    return number is not None and 0.0 <= number < math.inf


def _is_decay(value: object) -> bool:
    number = as_number(value)
    return number is not None and 0.0 <= number < 1.0


def _are_decays(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_decay, value))


def _are_coefficients(value: object) -> bool:
    numbers = [as_number(one) for one in value] if isinstance(value, (tuple, list)) else []
    return len(numbers) == 3 and all(one is not None and math.isfinite(one) for one in numbers)


def _is_count(value: object) -> bool:
    number = as_number(value)
    return number is not None and 0.0 <= number <= _MOST_STEPS and number.is_integer()


def _is_choice(value: object) -> bool:
    return as_number(value) in (0.0, 1.0)


def _is_factor(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in ("original", "match_rms_adamw"))


_SOUND: Mapping[str, Callable[[object], bool]] = {
    "lr": _is_size,
    "initial_lr": _is_size,
    "adamw_lr_ratio": _is_size,
    "weight_decay": _is_size,
    "wd": _is_size,
    "adamw_wd": _is_size,
    "eps": _is_size,
    "adamw_eps": _is_size,
    "momentum": _is_decay,
    "betas": _are_decays,
    "adamw_betas": _are_decays,
    "ns_steps": _is_count,
    "ns_coefficients": _are_coefficients,
    "adjust_lr_fn": _is_factor,
    "nesterov": _is_choice,
    "amsgrad": _is_choice,
    "maximize": _is_choice,
}
