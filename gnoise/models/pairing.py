"""Which parameter each entry of an optimizer's state belongs to.

torch keeps state by number. Names come from the groups where they have them (``param_names``). Otherwise numbers follow
``named_parameters()``, or nanoGPT's order, matrices before vectors; or, where hidden matrices went to one optimizer and
the others to another, that order *within each shape*, as long as it leaves no choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnoise.models.muons import in_torchs_terms, is_muons
from gnoise.models.optimizer_states import Group, optimizer_groups

_ZERO = 0.01
"""Rows' sum over the norm of all: below it the rows cancel. Rounding of bfloat16 leaves 0.002."""


@dataclass(frozen=True)
class Kept:
    """What is kept of one parameter.

    Attributes:
        entry: by key, in torch's terms.
        group: which it is in.
        number: of that group.
    """

    entry: Mapping[str, object]
    group: Group
    number: int


def paired(checkpoint: object, module: nn.Module) -> dict[str, Kept]:
    """Match entries to parameters by name.

    Several optimizers have the parameters between them, or one alone has them all.

    Args:
        checkpoint: what the file held.
        module: the network the optimizers worked on.

    Returns:
        empty where nothing is kept, nothing fits, or more than one way would.
    """
    optimizers = optimizer_groups(checkpoint)
    for groups in ([group for of_one in optimizers for group in of_one], *optimizers):
        kept = [
            Kept(in_torchs_terms(group, entry or {}), group, number)
            for number, group in enumerate(groups)
            for entry in group.entries
        ]
        for names in _orders(groups, kept, module):
            if _fit(names, kept, dict(module.named_parameters())):
                return dict(zip(names, kept, strict=True))
    return {}


def _fit(names: Sequence[str], kept: Sequence[Kept], parameters: Mapping[str, Tensor]) -> bool:
    """Whether each has one entry, in which something is kept, all of it one number or of the parameter's shape."""
    return len({*names}) == len(names) == len(kept) and all(
        one.entry and all(x.numel() == 1 or _shape(x) == _shape(parameters[name]) for x in _tensors(one))
        for name, one in zip(names, kept, strict=True)
    )


def _tensors(kept: Kept) -> list[Tensor]:
    return [x for x in kept.entry.values() if isinstance(x, Tensor)]


def _shape(x: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape, a kernel's as that of the matrix some flatten it to."""
    return (x.shape[0], x.numel() // max(x.shape[0], 1)) if x.ndim > 2 else tuple(x.shape)


def _orders(groups: Sequence[Group], kept: Sequence[Kept], module: nn.Module) -> Iterator[list[str]]:
    parameters = dict(module.named_parameters())
    named = [str(name) for group in groups for name in _names(group)]
    if named and all(name in parameters for name in named):
        yield named
        return
    matrices = [name for name, tensor in parameters.items() if tensor.ndim >= 2]
    if not _shared(kept):
        yield list(parameters)
        yield matrices + [name for name in parameters if name not in {*matrices}]
    if order := _by_shape(kept, module):
        yield order


def _names(group: Group) -> Sequence[object]:
    names = group.settings.get("param_names")
    return names if isinstance(names, (list, tuple)) else ()


def _by_shape(kept: Sequence[Kept], module: nn.Module) -> list[str]:
    """Give the entries of each shape the parameters of that shape; empty where that can be done in two ways or none."""
    tables = {id(table.weight) for table in module.modules() if isinstance(table, nn.Embedding)}
    wanting: dict[tuple[int, ...], list[str]] = {}
    for name, parameter in module.named_parameters():
        wanting.setdefault(_shape(parameter), []).append(name)
    parameters, found = dict(module.named_parameters()), [""] * len(kept)
    for shape, names in wanting.items():
        places = [place for place, one in enumerate(kept) if _shape_kept(one) == shape]
        order = _told_apart([kept[place] for place in places], names, [id(parameters[x]) in tables for x in names])
        if len(order) != len(names):
            return []
        for place, name in zip(places, order, strict=True):
            found[place] = name
    return found if all(found) else []


def _shared(kept: Sequence[Kept]) -> bool:
    """Whether Muon and another step parameters of one shape, so that shapes would fit the wrong ones as well."""
    found = [{_shape_kept(one) for one in kept if is_muons(one.group, one.entry) is muons} for muons in (True, False)]
    return bool(found[0] & found[1])


def _shape_kept(kept: Kept) -> tuple[int, ...]:
    return next((_shape(x) for key, x in kept.entry.items() if key != "step" and isinstance(x, Tensor)), (0,))


def _told_apart(kept: Sequence[Kept], names: Sequence[str], tables: Sequence[bool]) -> list[str]:
    """Order parameters of one shape, embeddings among them or not, as their entries are; empty where it is a guess."""
    if len(kept) != len(names):
        return []
    muons = [is_muons(one.group, one.entry) for one in kept]
    groups = {(one.number, muon) for one, muon in zip(kept, muons, strict=True)}
    if len(groups) == 1 and len({*tables}) == 1:
        return [*names]
    if len(groups) == 2 and {*muons} == {False, True} and muons.count(True) == tables.count(False):
        of = {kind: iter([name for name, x in zip(names, tables, strict=True) if x is kind]) for kind in (False, True)}
        return [next(of[not muon]) for muon in muons]
    if len(kept) == 2 and tables.count(True) == 1:
        return _head_or_embedding(kept, names[tables.index(True)], names[tables.index(False)])
    return []


def _head_or_embedding(kept: Sequence[Kept], embedding: str, head: str) -> list[str]:
    r"""Tell the entries of an embedding and an output layer apart; empty where both or neither could be either.

    The rows of a softmax's gradient sum to zero, $\sum_v (p_v - y_v)\,h = 0$, and so do those of its average.
    """
    zero = [_rows_cancel(one.entry.get("exp_avg", one.entry.get("momentum_buffer"))) for one in kept]
    return [head if of_head else embedding for of_head in zero] if zero.count(True) == 1 else []


def _rows_cancel(average: object) -> bool:
    if not isinstance(average, Tensor):
        return False
    wide = average.float()
    return bool(torch.linalg.vector_norm(wide.sum(0)) < _ZERO * torch.linalg.vector_norm(wide))
