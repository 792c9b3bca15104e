"""Optimizers' ``state_dict``s in a checkpoint, and whose they are.

torch writes no name. Whose a group is shows in its settings, or in what is kept for each of its parameters; both are
looked at, and where they say nothing the name stays empty. Checkpoints hold one state dict, a list of them (Lightning,
modded-nanogpt: Muon has AdamW beside it), a dict of them by name, or several under names of their own.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from torch import Tensor

Settings = Mapping[str, object]

MUON = "Muon"
_SAID = {"muon": MUON, "adamw": "AdamW", "adam": "Adam", "lion": "Lion", "sgd": "SGD"}
_SAYS = ("algorithm", "kind")  # Dion's groups, nanochat's
_MARKS = (
    ("ns_steps", MUON),  # torch's own, Moonlight's
    ("newton_schulz_steps", MUON),
    ("backend_steps", MUON),  # modded-nanogpt until 2024
    ("dampening", "SGD"),
    ("precondition_frequency", "SOAP"),
    ("weight_lr_power", "schedule-free AdamW"),
    ("momentum_decay", "NAdam"),
    ("centered", "RMSprop"),
    ("lr_decay", "Adagrad"),
    ("rho", "Adadelta"),
    ("beta2_decay", "Adafactor"),
    ("scale_parameter", "Adafactor"),
    ("lambd", "ASGD"),
    ("etas", "Rprop"),
)
"""A setting that only one optimizer has."""
_SECOND = ("exp_avg_sq", "moment2", "state2")  # torch's and Jordan's, Moonlight's, bitsandbytes'
_FIRST = ("exp_avg", "moment1", "state1")


@dataclass(frozen=True)
class Group:
    """One parameter group.

    Attributes:
        name: optimizer as people write it; empty where it cannot be told.
        settings: its hyper-parameters, and ``params``, the numbers of its parameters.
        entries: what is kept for each of these, in order; ``None`` where nothing is.
    """

    name: str
    settings: Settings
    entries: tuple[Mapping[str, object] | None, ...]


def optimizer_groups(checkpoint: object) -> list[list[Group]]:
    """Find every optimizer's parameter groups, in the order of the file.

    Args:
        checkpoint: what the file held; a state dict, or several, with other things beside them or alone.
    """
    return [_groups(state, label) for label, state in _states(checkpoint, "", depth=3)]


def known_name(said: object) -> str:
    """Spell the name of an optimizer, as a configuration has it, as torch does; empty where it is none of the known."""
    return _SAID.get(said.lower(), "") if isinstance(said, str) else ""


def number_in(settings: Mapping[str, object], *names: str) -> float | None:
    """Return the first of some settings that is there, as a number; ``None`` without, or where it is none.

    Args:
        settings: of a group, or a configuration.
        names: under which makers keep it.
    """
    return as_number(next((settings[name] for name in names if name in settings), None))


def as_number(value: object) -> float | None:
    """Return a real number or a tensor of one as a float; ``None`` for anything else, and beyond any float.

    Args:
        value: what a checkpoint holds.
    """
    if isinstance(value, Tensor) and (value.numel() != 1 or value.is_complex() or value.is_meta):
        return None
    try:
        return float(value) if isinstance(value, (int, float, Tensor)) else None
    except OverflowError:
        return None


def _states(value: object, label: str, *, depth: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Find mappings with parameter groups, by the name they go by."""
    if isinstance(value, Mapping):
        if _is_state(value):
            yield label, value
        within = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        within = [(label, part) for part in value]
    else:
        return
    for name, part in within if depth else ():
        yield from _states(part, name, depth=depth - 1)


def _is_state(value: Mapping[object, object]) -> bool:
    groups = value.get("param_groups")
    fit = isinstance(groups, (list, tuple)) and all(
        isinstance(group, Mapping) and _are_keys(group.get("params")) for group in groups
    )
    return fit and bool(groups) and isinstance(value.get("state"), Mapping)


def _are_keys(params: object) -> bool:
    """Whether state can be kept under these: numbers, or names."""
    return isinstance(params, (list, tuple)) and all(isinstance(one, int | str) for one in params)


def _groups(state: Mapping[str, object], label: str) -> list[Group]:
    groups, kept = state["param_groups"], state["state"]
    if not isinstance(groups, Sequence) or not isinstance(kept, Mapping):
        return []
    made: list[Group] = []
    for settings in groups:
        found = [kept.get(number) for number in settings["params"]]
        entries = tuple(entry if isinstance(entry, Mapping) else None for entry in found)
        made.append(Group(_name(settings, entries, label), settings, entries))
    return made


def _name(settings: Settings, entries: Sequence[Mapping[str, object] | None], label: str) -> str:
    """Name a group's optimizer: what it says itself, what only one has, then what is kept."""
    said = next((known_name(settings[key]) for key in _SAYS if key in settings), "")
    if said:
        return said
    if settings.get("use_muon") is True:  # Jordan's, in one optimizer with Adam
        return MUON
    kept = {key for entry in entries if entry is not None for key in entry}
    marked = next((name for mark, name in _MARKS if mark in settings), "")
    if marked == MUON and kept & {*_SECOND} and "momentum_buffer" not in kept:
        return "AdamW"  # all groups of one optimizer have Muon's settings, not all are stepped by it
    if marked:
        return marked
    if "betas" in settings:
        return _of_two_decays(settings, kept)
    has_momentum = "momentum" in settings or "mu" in settings
    return MUON if has_momentum and ("muon" in label.lower() or _only_matrices(entries)) else ""


def _of_two_decays(settings: Settings, kept: Set[str]) -> str:
    """Tell Adam's family and Lion apart; decay that is not said to be decoupled counts as decoupled."""
    if "exp_inf" in kept:
        return "Adamax"
    if "decoupled_weight_decay" in settings:
        if "amsgrad" not in settings:
            return "RAdam"
        return "Adam" if settings["decoupled_weight_decay"] is False else "AdamW"
    if kept & {*_SECOND} or ("eps" in settings and not kept):
        return "AdamW"
    return "Lion" if kept & {*_FIRST} and "eps" not in settings else ""


def _only_matrices(entries: Sequence[Mapping[str, object] | None]) -> bool:
    """Tell Jordan's Muon, whose settings are plain momentum's, by what it steps: matrices, each with its momentum."""
    kept = [entry.get("momentum_buffer") for entry in entries if entry is not None]
    return bool(kept) and all(isinstance(buffer, Tensor) and buffer.ndim >= 2 for buffer in kept)
