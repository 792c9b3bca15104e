"""Optimizer hyper-parameters, as checkpoints of various makers leave them behind."""

from collections.abc import Mapping

from torch import Tensor

from gnoise.records import JsonValue

_CONFIGS = ("config", "args", "hyper_parameters")
_OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optim", "optimizer_states")
_ITERATIONS = ("iter_num", "global_step", "iteration", "step", "iter")
# Name here, names in configurations; nanoGPT's come first.
_CONFIG_KEYS = {
    "lr": ("learning_rate", "lr"),
    "weight_decay": ("weight_decay",),
    "batch_size": ("batch_size",),
    "gradient_accumulation_steps": ("gradient_accumulation_steps",),
    "clip_global_norm": ("grad_clip", "max_grad_norm", "clip_global_norm"),
}


def hyperparameters(checkpoint: object) -> dict[str, JsonValue]:
    """Find what a checkpoint says about the training it came from.

    The optimizer's own state goes before the configuration, whose learning rate is the peak of a schedule.
    Among parameter groups the first with the largest weight decay speaks for all. A clip threshold of
    zero means no clipping, and is left out.

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
    found |= _from_optimizer(_first(checkpoint, _OPTIMIZERS))
    if (number := _number(_first(checkpoint, _ITERATIONS))) is not None:
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
    betas = [_number(config.get(key)) for key in ("beta1", "beta2")]
    if None not in betas:
        found["betas"] = [*betas]
    return found


def _from_optimizer(optimizer: object) -> dict[str, JsonValue]:
    if isinstance(optimizer, list) and optimizer:  # Lightning keeps a list of them, Muon has AdamW beside it
        optimizer = max(optimizer, key=_is_muon)
    groups = optimizer.get("param_groups") if isinstance(optimizer, Mapping) else None
    mappings = [group for group in groups if isinstance(group, Mapping)] if isinstance(groups, list) else []
    if not mappings:
        return {}
    group = max(mappings, key=lambda one: _number(one.get("weight_decay")) or 0.0)
    found: dict[str, JsonValue] = {}
    for key in ("lr", "eps", "momentum", "weight_decay"):
        if (value := _number(group.get(key))) is not None:
            found[key] = value
    if isinstance(betas := group.get("betas"), (tuple, list)):
        found["betas"] = [_number(beta) for beta in betas]
    if name := _optimizer_name(group):
        found["name"] = name
    return found


def _optimizer_name(group: Mapping[str, object]) -> str:
    # torch writes no name; the keys of a parameter group tell its own optimizers apart.
    if "ns_steps" in group:
        return "Muon"
    if "betas" in group and "decoupled_weight_decay" in group:
        return "AdamW" if group["decoupled_weight_decay"] else "Adam"
    return "SGD" if "nesterov" in group and "dampening" in group else ""


def _is_muon(optimizer: object) -> bool:
    groups = optimizer.get("param_groups") if isinstance(optimizer, Mapping) else None
    return isinstance(groups, list) and any("ns_steps" in group for group in groups if isinstance(group, Mapping))


def _number(value: object) -> float | None:
    if isinstance(value, Tensor) and value.numel() != 1:
        return None
    return float(value) if isinstance(value, (int, float, Tensor)) else None
