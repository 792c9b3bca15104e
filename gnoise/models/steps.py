"""How an optimizer with Muon in it steps each parameter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from gnoise.models.hyperparameters import hyperparameters
from gnoise.models.muons import AdamWStep, MuonStep, adamw_step, is_muons, muon_step
from gnoise.models.optimizer_states import MUON, optimizer_groups
from gnoise.models.pairing import Kept, paired
from gnoise.models.sound_settings import unsound


@dataclass(frozen=True)
class OptimizerSteps:
    """What steps each parameter, where Muon steps some of them.

    Attributes:
        by_name: of all parameters; empty where the optimizer is another, or cannot be taken up.
        lr: the rate that is called the checkpoint's, to which each parameter's own is in proportion.
        missing: why it cannot, as the end of a sentence; empty where it can.
    """

    by_name: Mapping[str, MuonStep | AdamWStep] = field(default_factory=dict)
    lr: float = 0.0
    missing: str = ""


NO_STEPS = OptimizerSteps()
"""Of any other optimizer."""


def optimizer_steps(checkpoint: object, module: nn.Module) -> OptimizerSteps:
    """Read how Muon, with AdamW beside it, steps every parameter of a module.

    Args:
        checkpoint: what the file held.
        module: the network the optimizers worked on.
    """
    groups = [group for of_one in optimizer_groups(checkpoint) for group in of_one]
    if not any(group.name == MUON for group in groups):
        return NO_STEPS
    if not any(entry for group in groups for entry in group.entries):
        return OptimizerSteps(missing="whose state is not in the checkpoint")
    kept, rate = paired(checkpoint, module), hyperparameters(checkpoint).get("lr")
    if not kept:
        return OptimizerSteps(missing="whose state does not tell which parameter each part of it belongs to")
    if not isinstance(rate, int | float) or not rate > 0.0:
        return OptimizerSteps(missing="whose learning rate has ended at zero")
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    if left := [name for name in shapes if name not in kept]:
        return OptimizerSteps(missing=f"whose state leaves out {left[0]}")
    steps = {name: _step(one, shapes[name]) for name, one in kept.items()}
    odd = [name for name, step in steps.items() if step is None]
    if odd:
        return OptimizerSteps(missing=_why_not(odd[0], shapes[odd[0]], kept[odd[0]]))
    return OptimizerSteps({name: step for name, step in steps.items() if step is not None}, float(rate))


def _step(kept: Kept, shape: tuple[int, ...]) -> MuonStep | AdamWStep | None:
    if unsound(kept.group.settings):
        return None
    return muon_step(kept.group, shape) if is_muons(kept.group, kept.entry) else adamw_step(kept.group)


def _why_not(name: str, shape: tuple[int, ...], kept: Kept) -> str:
    size = " × ".join(map(str, shape))
    who = MUON if is_muons(kept.group, kept.entry) else kept.group.name or "something unknown"
    if wrong := unsound(kept.group.settings):
        return f"which steps {name} ({size}) by {who} with {wrong}, which no step can be taken with"
    told = [key for key in sorted(map(str, kept.group.settings)) if key not in ("params", "param_names")]
    return f"which steps {name} ({size}) by {who} with the settings {', '.join(told)}, a rule that trials do not have"
