"""Refusing weights that no gradient should be taken at: not finite, or not this module's."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gnoise.errors import unreadable

NAMED = 3


def check_finite(state: Mapping[str, Tensor], source: Path) -> None:
    """Refuse NaN and infinite weights.

    Args:
        state: tensors by name.
        source: where they came from, for the message.

    Raises:
        UserError: names the first such tensor, with how many of each it holds (exit 3).
    """
    broken = [name for name, tensor in state.items() if _nonfinite(tensor).any()]
    if not broken:
        return
    first = state[broken[0]]
    nans = int(torch.isnan(_wide(first)).sum())
    infinities = int(_nonfinite(first).sum()) - nans
    others = f", and more in {len(broken) - 1} other tensors" if len(broken) > 1 else ""
    raise unreadable(
        f"expected finite weights in {source}, got {nans:,} NaN and {infinities:,} infinite values among the "
        f"{first.numel():,} of {broken[0]}{others}; try a checkpoint from before training diverged"
    )


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Copy a state dict into a module: every name and shape must fit, tied tensors may be there once.

    Args:
        module: takes the values, in its own dtype.
        state: tensors by name.
        source: where they came from, for messages.

    Raises:
        UserError: names or shapes differ, or a value is not finite (exit 3).
    """
    own = module.state_dict()
    check_names(own, state, source)
    check_shapes({name: (tensor.shape, own[name].shape) for name, tensor in state.items()}, source)
    check_finite(state, source)
    module.load_state_dict(dict(state), strict=False)


def check_names(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    """Refuse a state dict whose names are not the module's; summarised, never dumped.

    Raises:
        UserError: with counts and the first few names (exit 3).
    """
    present = {tensor.data_ptr() for name, tensor in own.items() if name in state and tensor.numel()}
    missing = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in present]
    refuse_names(missing, [name for name in state if name not in own], expected=len(own), source=source)


def refuse_names(missing: Collection[str], unexpected: Collection[str], *, expected: int, source: Path) -> None:
    """Raise unless both are empty.

    Args:
        missing: names the module has and the weights do not.
        unexpected: names the weights have and the module does not.
        expected: tensors the module has.
        source: where the weights came from, for the message.

    Raises:
        UserError: with counts and the first few names (exit 3).
    """
    parts = [
        f"{len(names):,} {word} ({_first(names)})"
        for names, word in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if parts:
        raise unreadable(
            f"expected the module's {expected:,} tensors in {source}, got {' and '.join(parts)}; "
            "try the code and configuration this checkpoint was trained with (--factory module:function)"
        )


def check_shapes(shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]], source: Path) -> None:
    """Refuse tensors whose shape is not the module's.

    Args:
        shapes: (shape in the checkpoint, shape in the module) by name.
        source: where the former came from, for the message.

    Raises:
        UserError: names the first of them with both shapes (exit 3).
    """
    wrong = [name for name, (found, wanted) in shapes.items() if tuple(found) != tuple(wanted)]
    if wrong:
        found, wanted = shapes[wrong[0]]
        others = f" (and {len(wrong) - 1:,} more tensors)" if len(wrong) > 1 else ""
        raise unreadable(
            f"expected {wrong[0]} of shape {tuple(wanted)}, got {tuple(found)} in {source}{others}; "
            "try the configuration this checkpoint was trained with"
        )


def _first(names: Collection[str]) -> str:
    return ", ".join([*names][:NAMED]) + (", …" if len(names) > NAMED else "")


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 1 else tensor


def _nonfinite(tensor: Tensor) -> Tensor:
    return ~torch.isfinite(_wide(tensor))
