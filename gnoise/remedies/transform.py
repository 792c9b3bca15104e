"""What a gradient transform is: two pure functions over a list of tensors, and how they compose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.remedies.positions import positions

Key = TypeVar("Key", str, int)

Tree = dict[str, object]
"""A state as plain dictionaries, lists and tensors: what a checkpoint holds."""


@dataclass(frozen=True)
class State:
    """What a transform remembers between steps.

    Attributes:
        per_tensor: vectors with one number a tensor, so that hundreds of tensors are one launch.
        per_entry: one tensor of the parameter's own shape for each parameter; overwritten in place.
        shared: numbers of the whole list.
        inner: states of the transforms in a chain, in order.
    """

    per_tensor: Mapping[str, Tensor] = field(default_factory=dict)
    per_entry: Mapping[str, list[Tensor]] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    inner: tuple["State", ...] = ()

    def take(self, places: Sequence[int]) -> "State":
        """Return the state of some of the tensors only."""
        return State(
            {name: x[positions(places, x.device)] for name, x in self.per_tensor.items()},
            {name: [xs[i] for i in places] for name, xs in self.per_entry.items()},
            self.shared,
            tuple(state.take(places) for state in self.inner),
        )

    def put(self, places: Sequence[int], part: "State") -> "State":
        """Return this state with the tensors of :meth:`take` replaced."""
        per_tensor: dict[str, Tensor] = {}
        for name, x in self.per_tensor.items():
            per_tensor[name] = x.index_copy(0, positions(places, x.device), part.per_tensor[name])
        per_entry: dict[str, list[Tensor]] = {}
        for name, xs in self.per_entry.items():
            new = dict(zip(places, part.per_entry[name], strict=True))
            per_entry[name] = [new.get(i, x) for i, x in enumerate(xs)]
        inner = tuple(a.put(places, b) for a, b in zip(self.inner, part.inner, strict=True))
        return State(per_tensor, per_entry, part.shared, inner)

    def tree(self) -> Tree:
        """Return the state as plain containers, which ``torch.load(weights_only=True)`` accepts."""
        return {
            "per_tensor": dict(self.per_tensor),
            "per_entry": {name: list(xs) for name, xs in self.per_entry.items()},
            "shared": dict(self.shared),
            "inner": [state.tree() for state in self.inner],
        }


@dataclass(frozen=True)
class Transform:
    """A pair of functions, as in optax.

    Attributes:
        init: parameters in, first state out.
        update: gradients, state and parameters in; gradients and next state out. The gradients are
            *donated*: they may be overwritten, and only what is returned may be used afterwards. Every
            gradient is dense; lists have one order and length throughout.
    """

    init: Callable[[Sequence[Tensor]], State]
    update: Callable[[list[Tensor], State, Sequence[Tensor]], tuple[list[Tensor], State]]


@dataclass(frozen=True)
class Listed:
    """A remedy's line in the table of contents, and what the contract tests hold it to.

    Attributes:
        name: of the function that makes it.
        usual: a setting with some effect.
        neutral: the setting which is the identity bit for bit; ``None`` where there is none.
        entrywise: whether it is an odd function of each entry alone, given the state.
        degree: k where gradients times c give updates times c^k from the first step on; ``None`` where its
            settings have a size of their own.
    """

    name: str
    usual: Transform
    neutral: Transform | None
    entrywise: bool = False
    degree: int | None = None


def identity() -> Transform:
    """Return gradients as they come, untouched: what every neutral setting is."""
    return Transform(lambda params: State(), lambda grads, state, params: (grads, state))


def chain(*transforms: Transform) -> Transform:
    """Run transforms one after the other, the first on the raw gradients.

    Args:
        transforms: in order.
    """

    def init(params: Sequence[Tensor]) -> State:
        return State(inner=tuple(transform.init(params) for transform in transforms))

    def update(grads: list[Tensor], state: State, params: Sequence[Tensor]) -> tuple[list[Tensor], State]:
        states: list[State] = []
        for transform, inner in zip(transforms, state.inner, strict=True):
            grads, after = transform.update(grads, inner, params)
            states.append(after)
        return grads, State(inner=tuple(states))

    return Transform(init, update)


def restore(tree: object, fresh: State) -> State:
    """Fill a fresh state with a saved one.

    Args:
        tree: from :meth:`State.tree`, possibly on another device.
        fresh: from ``init`` of the same transform over the same parameters.

    Raises:
        UserError: the saved state is of another transform or of other parameters.
    """
    if not isinstance(tree, dict):
        raise _other_state()
    try:
        inner = tree["inner"]
        if len(inner) != len(fresh.inner):
            raise _other_state()
        return State(
            _filled(tree["per_tensor"], fresh.per_tensor),
            {
                name: list(_filled(dict(enumerate(tree["per_entry"][name])), dict(enumerate(xs))).values())
                for name, xs in fresh.per_entry.items()
            },
            _filled(tree["shared"], fresh.shared),
            tuple(restore(a, b) for a, b in zip(inner, fresh.inner, strict=True)),
        )
    except (KeyError, TypeError) as error:
        raise _other_state() from error


def _filled(saved: Mapping[Key, Tensor], fresh: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    if set(saved) != set(fresh) or any(saved[k].shape != fresh[k].shape for k in fresh):
        raise _other_state()
    return {key: saved[key].detach().to(x.device, x.dtype, copy=True) for key, x in fresh.items()}


def _other_state() -> UserError:
    return UserError(
        "expected the saved state of this remedy over these parameters, got another; "
        "try wrap or apply with the settings it was saved with before load_state_dict"
    )


def book_dtype(device: torch.device) -> torch.dtype:
    """Return the precision per-tensor numbers are kept in: double, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
