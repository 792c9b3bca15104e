"""Run a transform inside any torch optimizer, at the start of its every step."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import difflib
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from gnoise.errors import UserError
from gnoise.remedies.shards import as_dtensor
from gnoise.remedies.transform import State, Transform, restore

STATE_KEY = "gnoise.remedies"
"""Where an optimizer's ``state_dict`` holds the states of what is wrapped around it, by name."""

_WRAPPED: WeakKeyDictionary[Optimizer, dict[str, "Wrapped"]] = WeakKeyDictionary()


class Wrapped:
    """A transform at work inside an optimizer: keeps its state, and takes it out again.

    Made by :func:`wrap`.

    Attributes:
        name: under which its state is saved.
        parameters: what it works on, in order.
        state: after the last step; ``None`` before the first.
    """

    def __init__(self, name: str, transform: Transform, parameters: Sequence[Tensor]) -> None:
        self.name = name
        self.parameters = tuple(parameters)
        self.state: State | None = None
        self._transform = transform
        self._handles: list[RemovableHandle] = []

    def attach(self, optimizer: Optimizer) -> None:
        """Hook into an optimizer's step, saving and loading."""
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]

    def remove(self) -> None:
        """Take the transform out of the optimizer; its state is dropped from later checkpoints."""
        for handle in self._handles:
            handle.remove()
        for attached_here in _WRAPPED.values():
            if attached_here.get(self.name) is self:
                del attached_here[self.name]

    @torch._disable_dynamo  # a compiled step calls it as it is
    @torch.no_grad()
    def apply(self) -> None:
        """Transform the gradients that are there, in place."""
        places = [i for i, x in enumerate(self.parameters) if x.grad is not None]
        if not places:
            return
        parameters = [self.parameters[i] for i in places]
        grads = [x.grad for x in parameters if x.grad is not None]
        _check(grads)
        if self.state is None:
            self.state = self._transform.init(self.parameters)
        partial = len(places) < len(self.parameters)
        state = self.state.take(places) if partial else self.state
        grads, after = self._transform.update(grads, state, parameters)
        self.state = self.state.put(places, after) if partial else after
        for parameter, grad in zip(parameters, grads, strict=True):
            if parameter.grad is not grad:
                parameter.grad = grad

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if getattr(optimizer, "grad_scale", None) is not None:
            raise UserError(
                "expected unscaled gradients, got an optimizer that unscales inside of its step; "
                "try scaler.unscale_(optimizer) before scaler.step(optimizer)"
            )
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._around(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, kwargs | {"closure": self._around(kwargs["closure"])}
        self.apply()
        return None

    def _around(self, closure: Callable[[], object]) -> Callable[[], object]:
        def transformed() -> object:
            loss = closure()
            self.apply()
            return loss

        return transformed

    def _save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        if self.state is not None:
            state_dict.setdefault(STATE_KEY, {})[self.name] = self.state.tree()

    def _load(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        states = state_dict.get(STATE_KEY, {})
        if not isinstance(states, Mapping):
            raise UserError(
                f"expected states by name under {STATE_KEY!r}, got {type(states).__name__}; "
                "try the optimizer's own state_dict"
            )
        tree = states.get(self.name)
        self.state = None if tree is None else restore(tree, self._transform.init(self.parameters))


def _check(grads: Sequence[Tensor]) -> None:
    for grad in grads:
        if grad.layout != torch.strided:
            raise UserError(
                "expected dense gradients, got a sparse one; "
                "try nn.Embedding(..., sparse=False), or select= without that parameter"
            )
        if grad.is_complex():
            raise UserError("expected real gradients, got complex ones; try select= without that parameter")
        spread = as_dtensor(grad)
        if spread is None and type(grad) is not Tensor:
            raise UserError(
                f"expected plain or FSDP2 tensors as gradients, got {type(grad).__name__}; "
                "try DistributedDataParallel or fully_shard"
            )
        if spread is not None and any(placement.is_partial() for placement in spread.placements):
            raise UserError(
                "expected gradients that are summed over processes, got partial sums; "
                "try set_requires_gradient_sync(True) before the last backward pass of a step"
            )


def wrap(
    optimizer: Optimizer,
    transform: Transform,
    *,
    select: str | Tensor | Sequence[str | Tensor] | None = None,
    name: str = "transform",
) -> Wrapped:
    """Run a transform on an optimizer's gradients at the start of every step.

    The optimizer, its schedulers and its parameter groups stay what they are. Several transforms run in the order
    they were wrapped. As with ``clip_grad_norm_``, ``.grad`` holds the transformed gradient afterwards.
    Parameters without a gradient are passed over. The state travels in ``optimizer.state_dict()`` and comes back
    with ``load_state_dict`` bit for bit, once the same transform is wrapped under the same name; a state dict
    without it starts the transform afresh.

    Args:
        optimizer: any torch optimizer; with a closure, the gradients of each of its calls are transformed.
        transform: what to run.
        select: parameters, or shell patterns such as ``"*.attn.*"`` for an optimizer made from
            ``model.named_parameters()``, in this order; ``None`` for all the optimizer has now. Groups that are added
            later are not part of it: wrap them under another name.
        name: key of the state, where more than one transform is wrapped.

    Returns:
        the wrapped transform: ``.state`` to look at, ``.remove()`` to undo.

    Raises:
        UserError: the name is taken, a pattern or the selection finds nothing, or a selected parameter is not the
            optimizer's.
    """
    optimizer = bare(optimizer)
    taken = _WRAPPED.setdefault(optimizer, {})
    if name in taken:
        raise UserError(
            f"expected a new name for this transform, got {name!r} again; "
            "try wrap(..., name=...), or wrapped(optimizer)[...].remove() first"
        )
    made = Wrapped(name, transform, _selected(optimizer, select))
    made.attach(optimizer)
    taken[name] = made
    return made


def wrapped(optimizer: Optimizer) -> dict[str, Wrapped]:
    """Return what is wrapped around an optimizer, by name, in the order it runs."""
    return dict(_WRAPPED.get(bare(optimizer), {}))


def bare(optimizer: object) -> Optimizer:
    """Return the optimizer inside of others, such as Accelerate's, whose own hooks never run.

    Raises:
        UserError: it is none at all.
    """
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        return bare(inner)
    if not isinstance(optimizer, Optimizer):
        raise UserError(
            f"expected a torch.optim optimizer, got {type(optimizer).__name__}; "
            "try gnoise.apply(recommendations, model, optimizer) or wrap(optimizer, transform), in this order"
        )
    return optimizer


def _selected(optimizer: Optimizer, select: str | Tensor | Sequence[str | Tensor] | None) -> list[Tensor]:
    return list({id(x): x for x in _chosen(optimizer, select)}.values())  # nothing is transformed twice


def _chosen(optimizer: Optimizer, select: str | Tensor | Sequence[str | Tensor] | None) -> list[Tensor]:
    every: list[Tensor] = [x for group in optimizer.param_groups for x in group["params"]]
    if select is None:
        return every
    chosen = [select] if isinstance(select, str | Tensor) else list(select)
    if not chosen:
        raise UserError("expected parameters to select, got none; try select=None for all that the optimizer has")
    known = {id(x) for x in every}
    if not all(isinstance(x, str) or id(x) in known for x in chosen):
        raise UserError(
            "expected parameters of the optimizer, got some that it does not hold; "
            "try select=list(module.parameters()) of a module it was made for"
        )
    found = [_matching(optimizer, x, every) if isinstance(x, str) else [x] for x in chosen]
    return [x for some in found for x in some]


def _matching(optimizer: Optimizer, pattern: str, every: Sequence[Tensor]) -> list[Tensor]:
    names = [name for group in optimizer.param_groups for name in group.get("param_names", ())]
    if not names:
        raise UserError(
            f"expected an optimizer that knows parameter names, got one without for {pattern!r}; "
            "try AdamW(model.named_parameters(), ...) or select=[model.fc.weight]"
        )
    found = [x for name, x in zip(names, every, strict=True) if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)[0]
        raise UserError(f"expected parameters named like {pattern!r}, got none; try {near!r}")
    return found
