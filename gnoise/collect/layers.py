"""The trainable parameters of a module, sorted into kinds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from gnoise.errors import UserError
from gnoise.records import Kind, Layer

_NUMBER = re.compile(r"(?:^|\.)(\d+)(?=\.)")
_ATTENTION = re.compile(r"attn|attention|q_proj|k_proj|v_proj|o_proj|qkv", re.IGNORECASE)
_MLP = re.compile(r"mlp|ffn|feed_forward|fc\d?|gate_proj|up_proj|down_proj|dense|linear", re.IGNORECASE)
_HEAD = re.compile(r"(?:^|\.)(lm_head|head|classifier|score|output|logits)\.", re.IGNORECASE)


@dataclass(frozen=True)
class Parameter:
    """A layer and the tensor it is."""

    layer: Layer
    tensor: nn.Parameter


def trainable_parameters(
    module: nn.Module, *, include: str | None = None, exclude: str | None = None
) -> list[Parameter]:
    """List every trainable parameter once, tied ones under their first name.

    Args:
        module: the network.
        include: regular expression; keep the parameters with a name in which it is found.
        exclude: regular expression; drop those.

    Raises:
        UserError: nothing is left, or an expression cannot be read.
    """
    owners: dict[int, list[str]] = {}
    tensors: dict[int, nn.Parameter] = {}
    modules = dict(module.named_modules())
    for name, tensor in module.named_parameters(remove_duplicate=False):
        if tensor.requires_grad:
            owners.setdefault(id(tensor), []).append(name)
            tensors[id(tensor)] = tensor
    found = [
        Parameter(_layer(names, tuple(tensors[key].shape), modules), tensors[key]) for key, names in owners.items()
    ]
    kept = [p for p in found if _kept(p.layer.owners, include, exclude)]
    if not kept:
        example = found[0].layer.name if found else "none at all"
        raise UserError(
            f"expected a trainable parameter to profile, got none of {len(found)} "
            f"(one is called {example}); try another --include or --exclude"
        )
    return kept


def _kept(names: Sequence[str], include: str | None, exclude: str | None) -> bool:
    try:
        wanted = include is None or any(re.search(include, name) for name in names)
        return wanted and not (exclude is not None and any(re.search(exclude, name) for name in names))
    except re.error as error:
        raise UserError(
            f"expected a regular expression, got {error.pattern!r} ({error}); try --include 'mlp|attn'"
        ) from error


def _layer(names: list[str], shape: tuple[int, ...], modules: dict[str, nn.Module]) -> Layer:
    owner_modules = [modules[name.rpartition(".")[0]] for name in names]
    depth = _NUMBER.search(names[0])
    return Layer(
        name=names[0],
        kind=_kind(names[0], shape, owner_modules),
        shape=shape,
        depth=int(depth.group(1)) if depth else None,
        owners=tuple(names),
    )


def _kind(name: str, shape: tuple[int, ...], owners: list[nn.Module]) -> Kind:
    """Classify by the owning module's class first, by the name where the class does not tell."""
    classes = [type(owner).__name__ for owner in owners]
    if any(isinstance(owner, nn.Embedding) for owner in owners):
        return Kind.EMBEDDING
    if any("Norm" in x for x in classes):
        return Kind.NORM
    if len(shape) == 1 and name.rpartition(".")[2].endswith("bias"):
        return Kind.BIAS
    if any("Conv" in x and len(shape) > 2 for x in classes):
        return Kind.CONV
    if _HEAD.search(name) and not _NUMBER.search(name):
        return Kind.HEAD
    if _ATTENTION.search(name):
        return Kind.ATTENTION
    return Kind.MLP if _MLP.search(name) else Kind.OTHER
