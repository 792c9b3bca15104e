"""Which parameters are hidden matrices, which meet the vocabulary or the classes, and which are the rest."""

import fnmatch
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Literal, TypedDict

from torch import nn

from gnoise.errors import UserError
from gnoise.remedies.geometry import Geometry

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TABLES = ("*pos_emb*", "*position*", "*positional*", "*_token", "*relative_*bias*")
"""Names of raw parameters that are learnt positions or tokens, not matrices that multiply."""
_THIN_SIDE = 32
_THIN_RATIO = 16


class Role(StrEnum):
    """What a parameter is to the model."""

    HIDDEN = "hidden"
    EMBEDDING = "embedding"
    REST = "rest"


class ParamGroup(TypedDict):
    """A ``torch.optim`` parameter group, with its role and geometry."""

    params: list[tuple[str, nn.Parameter]]
    role: str
    geometry: str


def roles_of(
    model: nn.Module,
    *,
    hidden: Sequence[str] = (),
    embedding: Sequence[str] = (),
    rest: Sequence[str] = (),
    conv: Literal["flatten", "rest"] = "flatten",
) -> dict[str, Role]:
    """Tell what each trained parameter is, by its first name; frozen ones are left out.

    - *Embedding*: weights of ``nn.Embedding`` (tokens, positions) and ``nn.EmbeddingBag``; whatever is tied to
      one; the output layer, which is what ``get_output_embeddings()`` says, else the last linear layer, as long as
      the model has no embeddings or one with as many rows.
    - *Hidden*: other matrices, ungrouped convolutions (as out × rest).
    - *Rest*: vectors, scalars, learnt position tables and tokens, grouped and transposed convolutions, stacks
      of matrices, and thin matrices: at most 32 on one side and 16 times that on the other, such as
      LoRA factors, routers and value heads.

    Args:
        model: whose parameters they are.
        hidden: shell patterns of names that are hidden matrices, whatever the rules say.
        embedding: patterns of names that belong with the embeddings.
        rest: patterns of names that belong to the rest.
        conv: ``"rest"`` sends all convolutions there.

    Raises:
        UserError: a pattern matches nothing, two roles claim one parameter, or a vector is to be hidden.
    """
    names = _names(model)
    claimed: dict[nn.Parameter, Role] = {}
    for role, patterns in ((Role.HIDDEN, hidden), (Role.EMBEDDING, embedding), (Role.REST, rest)):
        for parameter in _matching(names, patterns):
            if claimed.setdefault(parameter, role) is not role:
                raise UserError(
                    f"expected one role for {names[parameter][0]}, got {claimed[parameter]} and {role}; "
                    "try narrower patterns"
                )
            if role is Role.HIDDEN and parameter.ndim < 2:
                raise UserError(
                    f"expected hidden parameters to be matrices, got {names[parameter][0]} with shape "
                    f"{tuple(parameter.shape)}; try hidden patterns that end in weight"
                )
    ruled = _Rules(model, flatten=conv == "flatten")
    return {every[0]: claimed.get(parameter, ruled.role(parameter, every)) for parameter, every in names.items()}


def param_groups_for(
    model: nn.Module,
    *,
    hidden: Sequence[str] = (),
    embedding: Sequence[str] = (),
    rest: Sequence[str] = (),
    conv: Literal["flatten", "rest"] = "flatten",
    others: Literal["lmo", "adamw"] = "lmo",
) -> list[ParamGroup]:
    """Sort a model's trained parameters into groups for :class:`LayerwiseLR`.

    Hidden matrices step in the spectral geometry. Embeddings step by sign and the rest by root mean square, or
    all of these by AdamW. Add ``lr`` or ``weight_decay`` to a group as in any ``torch.optim`` optimizer.

    Args:
        model: as for :func:`roles_of`, with the same patterns.
        hidden: see there.
        embedding: see there.
        rest: see there.
        conv: see there.
        others: ``"adamw"`` for what plain Muon does.

    Returns:
        up to three groups, hidden first.
    """
    roles = roles_of(model, hidden=hidden, embedding=embedding, rest=rest, conv=conv)
    parameters = dict(model.named_parameters())
    geometries = {Role.HIDDEN: Geometry.SPECTRAL, Role.EMBEDDING: Geometry.SIGN, Role.REST: Geometry.RMS}
    groups: list[ParamGroup] = []
    for role, own in geometries.items():
        params = [(name, parameters[name]) for name, found in roles.items() if found is role]
        geometry = own if role is Role.HIDDEN or others == "lmo" else Geometry.ADAMW
        if params:
            groups.append({"params": params, "role": str(role), "geometry": str(geometry)})
    return groups


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Sort trained parameters, with their names, into matrices, which decay, and vectors, which do not.

    Groups without parameters are left out.

    Args:
        model: whose parameters they are.
        weight_decay: of matrices.
    """
    trained = [(name, x) for name, x in model.named_parameters() if x.requires_grad]
    split = [[(name, x) for name, x in trained if x.ndim >= 2], [(name, x) for name, x in trained if x.ndim < 2]]
    return [{"params": part, "weight_decay": d} for part, d in zip(split, (weight_decay, 0.0), strict=True) if part]


class _Rules:
    """What a model's modules say about its parameters."""

    def __init__(self, model: nn.Module, *, flatten: bool) -> None:
        embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
        self._embedding = {m.weight for m in embeddings} | set(_heads(model, embeddings))
        self._conv = {m.weight for m in model.modules() if flatten and isinstance(m, _CONVOLUTIONS) and m.groups == 1}

    def role(self, parameter: nn.Parameter, names: Iterable[str]) -> Role:
        if parameter in self._embedding:
            return Role.EMBEDDING
        table = any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in _TABLES)
        if parameter in self._conv or (parameter.ndim == 2 and not table):
            return Role.REST if _is_thin(parameter) else Role.HIDDEN
        return Role.REST


def _heads(model: nn.Module, embeddings: Sequence[nn.Embedding | nn.EmbeddingBag]) -> list[nn.Parameter]:
    said = getattr(model, "get_output_embeddings", None)
    output = said() if callable(said) else None
    if isinstance(output, nn.Module):
        return [x for x in output.parameters() if x.ndim == 2]
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1:]
    rows = {m.num_embeddings for m in embeddings}
    return [p for m in last if not rows or m.out_features in rows for p in m.parameters() if p.ndim == 2]


def _is_thin(parameter: nn.Parameter) -> bool:
    rows, columns = parameter.shape[0], parameter.numel() // max(parameter.shape[0], 1)
    short, long = sorted((rows, columns))
    return short <= _THIN_SIDE and long >= _THIN_RATIO * short


def _names(model: nn.Module) -> dict[nn.Parameter, list[str]]:
    found: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            found.setdefault(parameter, []).append(name)
    return found


def _matching(names: dict[nn.Parameter, list[str]], patterns: Sequence[str]) -> list[nn.Parameter]:
    found: list[nn.Parameter] = []
    for pattern in patterns:
        hits = [p for p, every in names.items() if any(fnmatch.fnmatchcase(name, pattern) for name in every)]
        if not hits:
            some = next(iter(names.values()), ["none at all"])[0]
            raise UserError(f"expected trained parameters named like {pattern!r}, got none; try {some!r}")
        found += hits
    return found
