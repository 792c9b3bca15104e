"""How a module and a batch become a scalar mean loss.

Shape suffixes: B batch, T time (tokens), V vocabulary.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from gnoise.errors import UserError
from gnoise.models.model import Batch, Loss
from gnoise.references import load_reference

_TRY_LOSS = "try --loss module:function, a function of (module, batch) that returns the mean loss"


def choose_loss(reference: str | None, *, folder: Path, default: Loss) -> Loss:
    """Use the loss the caller named, if any.

    Args:
        reference: ``module:function``, or ``None``.
        folder: where to look for its module first.
        default: used without a reference.

    Raises:
        UserError: the reference cannot be resolved (exit 2).
    """
    if reference is None:
        return default
    function = load_reference(reference, folder=folder, option="--loss")

    def named_loss(module: nn.Module, batch: Batch) -> Tensor:
        return scalar(function(module, batch), origin=reference)

    return named_loss


def module_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Call the module on the batch's tensors and take the loss it computes itself.

    That is its output where it is a scalar, the output's ``loss`` (an attribute or a key), or the one
    scalar among several outputs. A tuple is spread over positions, a dict over names.

    Raises:
        UserError: the module does not take the batch, or returns no scalar loss (exit 2).
    """
    try:
        if isinstance(batch, Tensor):
            output = module(batch)
        elif isinstance(batch, dict):
            output = module(**batch)
        else:
            output = module(*batch)
    except TypeError as error:
        raise UserError(
            f"expected {type(module).__name__} to take {_describe(batch)}, got {error}; {_TRY_LOSS}"
        ) from error
    return scalar(output, origin=type(module).__name__)


def scalar(output: object, *, origin: str) -> Tensor:
    """Find the scalar loss in what a module or a loss function returned.

    Args:
        output: a tensor, a mapping or object with ``loss``, or a tuple with one scalar in it.
        origin: who returned it, for the message.

    Raises:
        UserError: there is no scalar in it (exit 2).
    """
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", output)
    if isinstance(loss, (tuple, list)):
        scalars = [part for part in loss if isinstance(part, Tensor) and part.ndim == 0]
        loss = scalars[0] if len(scalars) == 1 else loss
    if not isinstance(loss, Tensor) or loss.ndim:
        raise UserError(f"expected a scalar loss from {origin}, got {_describe(output)}; {_TRY_LOSS}")
    return loss


def next_token_pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """Split a batch of token ids into inputs and the targets they predict.

    Args:
        batch: (inputs, targets) already shifted against each other, or one tensor of sequences.

    Returns:
        inputs and targets, both (B, T).

    Raises:
        UserError: anything else (exit 2).
    """
    if isinstance(batch, Tensor) and batch.ndim == 2:
        return batch[:, :-1], batch[:, 1:]
    if isinstance(batch, tuple) and len(batch) == 2 and batch[0].shape == batch[1].shape:
        return batch[0], batch[1]
    raise UserError(
        f"expected batches of (inputs, targets) token ids, both (sequences, tokens), got {_describe(batch)}; "
        "try a loader that yields such pairs, or --loss module:function"
    )


def token_cross_entropy(logits_BTV: Tensor, targets_BT: Tensor, *, ignored: int) -> Tensor:
    """Average cross-entropy over tokens, in nats, in float32 whatever the logits are.

    Args:
        logits_BTV: unnormalised log-probabilities.
        targets_BT: the ids to predict.
        ignored: target that does not count.
    """
    return functional.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=ignored)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict of {_listed(value)}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of ({', '.join(_describe(part) for part in value)})"
    return type(value).__name__


def _listed(keys: Iterable[object]) -> str:
    return ", ".join(str(key) for key in keys)
