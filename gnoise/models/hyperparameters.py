"""Optimizer hyper-parameters, as checkpoints of various makers leave them behind."""

from collections import Counter
from collections.abc import Mapping, Sequence

from gnoise.models.optimizer_states import MUON, Group, as_number, known_name, number_in, optimizer_groups
from gnoise.records import JsonValue

_CONFIGS = ("config", "args", "hyper_parameters")
_ITERATIONS = ("iter_num", "global_step", "iteration", "step", "iter")
# Name here, names in configurations; nanoGPT's come first.
_CONFIG_KEYS = {
    "lr": ("learning_rate", "lr"),
    "weight_decay": ("weight_decay",),
    "batch_size": ("batch_size",),
    "gradient_accumulation_steps": ("gradient_accumulation_steps",),
    "clip_global_norm": ("grad_clip", "max_grad_norm", "clip_global_norm"),
}
_CONFIG_NAMES = ("optimizer", "optimizer_type", "optimizer_name", "optim", "opt")
_DECAYS = ("weight_decay", "wd")  # torch's and Jordan's, Moonlight's
_BETAS = ("betas", "adamw_betas")
# Name here, names in parameter groups.
_GROUP_KEYS = {
    "lr": ("lr",),
    "eps": ("eps", "adamw_eps"),
    "momentum": ("momentum", "mu"),
    "weight_decay": _DECAYS,
}


def hyperparameters(checkpoint: object) -> dict[str, JsonValue]:
    """Find what a checkpoint says about the training it came from.

    The optimizer's own state goes before the configuration, whose learning rate is the peak of a schedule.
    Among parameter groups the first with the largest weight decay speaks for all, Muon's before AdamW's beside it,
    which has the betas. A clip threshold of zero means no clipping, and is left out.

    Args:
        checkpoint: what the file held; anything but a mapping has nothing to say.

    Returns:
        ``name``, ``lr``, ``betas``, ``eps``, ``momentum``, ``weight_decay``, ``batch_size``,
        ``gradient_accumulation_steps``, ``clip_global_norm``, ``iteration``: those that were found.
    """
    if not isinstance(checkpoint, Mapping):
        return {}
    config = _first(checkpoint, _CONFIGS)
    found: dict[str, JsonValue] = {}
    if isinstance(config, Mapping):
        found |= _from_config(config)
    found |= _from_optimizer([group for groups in optimizer_groups(checkpoint) for group in groups])
    if (number := number_in(checkpoint, *_ITERATIONS)) is not None:
        found["iteration"] = int(number)
    if found.get("clip_global_norm") == 0:
        del found["clip_global_norm"]
    return found


def _first(mapping: Mapping[str, object], keys: tuple[str, ...]) -> object:
    return next((mapping[key] for key in keys if key in mapping), None)


def _from_config(config: Mapping[str, object]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, keys in _CONFIG_KEYS.items():
        value = _first(config, keys)
        if isinstance(value, (int, float)):
            found[name] = value
    betas = [number_in(config, key) for key in ("beta1", "beta2")]
    if None not in betas:
        found["betas"] = [*betas]
    if name := known_name(_first(config, _CONFIG_NAMES)):
        found["name"] = name
    return found


def _from_optimizer(groups: Sequence[Group]) -> dict[str, JsonValue]:
    """Let the most telling group speak; what Muon does not step is AdamW's, whose betas and ε are its own."""
    if not groups:
        return {}
    speaker = _speaker(groups)
    found = _settings(speaker.settings)
    if speaker.name:
        found["name"] = speaker.name
    if speaker.name == MUON:
        if "betas" not in found:  # then ε is that of its iteration
            found.pop("eps", None)
        others = [group for group in groups if group.name != MUON and "betas" in group.settings]
        beside = _settings(_speaker(others).settings) if others else {}
        found |= {key: value for key, value in beside.items() if key in ("betas", "eps")}
    return found


def _speaker(groups: Sequence[Group]) -> Group:
    """Take Muon's before others', then those of the optimizer with most parameters, then the largest weight decay."""
    names = Counter(name for group in groups for name in [group.name] * len(group.entries))
    return max(
        groups,
        key=lambda one: (one.name == MUON, names[one.name], number_in(one.settings, *_DECAYS) or 0.0),
    )


def _settings(group: Mapping[str, object]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, keys in _GROUP_KEYS.items():
        if (value := number_in(group, *keys)) is not None:
            found[name] = value
    if found.get("lr") == 0.0:  # where a schedule ends, which says nothing of the rate it trained at
        del found["lr"]
        if began := number_in(group, "initial_lr"):
            found["lr"] = began
    betas = _first(group, _BETAS)
    if isinstance(betas, (tuple, list)):
        found["betas"] = [as_number(beta) for beta in betas]
    return found
