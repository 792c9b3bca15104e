"""The remedies of `papers.py`, each around an optimizer, and the arms they make. Run alone it does nothing."""

from papers_trainings import ADAMW, LANTON, LAYERWISE, MUON, Arm
from torch import nn
from torch.optim import Optimizer

from gnoise.remedies import Role, clip_global_norm, clip_value, roles_of, shrink, stabilize, wrap
from gnoise.remedies.geometry import Geometry
from gnoise.stats.trial import NONE


def clip_globally(module: nn.Module, optimizer: Optimizer, setting: float) -> None:
    """Clip the whole model's gradient to norm 1."""
    wrap(optimizer, clip_global_norm(1.0))


def steady(module: nn.Module, optimizer: Optimizer, setting: float) -> None:
    """Stabilize every tensor's gradient as the paper sets it."""
    wrap(optimizer, stabilize())


def _falling(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    """Shrink matrices and vectors towards zero far out; embeddings, whose rare rows are true, never to nothing."""
    roles, named = roles_of(module), dict(module.named_parameters())
    tables = [named[name] for name, role in roles.items() if role is Role.EMBEDDING]
    others = [named[name] for name, role in roles.items() if role is not Role.EMBEDDING]
    wrap(optimizer, shrink("rational", gain=gain), select=others, name="others")
    wrap(optimizer, shrink("saturating", rows=True, gain=gain), select=tables, name="embeddings")


def _saturating(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    wrap(optimizer, shrink("saturating", gain=gain))


def _clip_matrices(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    matrices = [
        x for group in optimizer.param_groups if group["geometry"] == Geometry.SPECTRAL for x in group["params"]
    ]
    wrap(optimizer, clip_value(gain=gain), select=matrices)


_GAINS = (3.0, 10.0, 30.0)
SHRINKING = (
    Arm(NONE),
    Arm("shrunk, falling", ADAMW, _falling, _GAINS),
    Arm("shrunk, saturating", ADAMW, _saturating, _GAINS),
)
BEFORE_MUON = Arm("entries clipped", MUON, _clip_matrices, _GAINS)
RATES_ALONE = Arm("noise-adaptive rates on Muon", LAYERWISE)
WHOLE = Arm("LANTON whole", LANTON, note="embeddings by sign, at the same rate")
