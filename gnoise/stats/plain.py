"""What plain arrays have to be: real numbers, of any shape and number type."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gnoise.errors import UserError

_NUMBERS = "biuf"


def plain_values(values: ArrayLike) -> Float[np.ndarray, "..."]:
    """Convert numbers of any kind to float64; NaN and infinities are data, and stay.

    Args:
        values: an array, a tensor on the CPU, a nested list, or a number.

    Raises:
        UserError: these are not real numbers, or are masked.
    """
    with np.errstate(over="ignore"):
        return plain_array(values).astype(np.float64, copy=False)


def plain_array(values: ArrayLike) -> np.ndarray:
    """Convert as :func:`plain_values`, keeping the number type.

    Args:
        values: likewise.

    Raises:
        UserError: likewise.
    """
    if np.ma.is_masked(values):
        raise UserError("expected values without a mask, got a masked array; try values.compressed()")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _not_numbers(f"{type(values).__name__} ({str(error).splitlines()[0]})") from error
    if array.dtype.kind not in _NUMBERS:
        raise _not_numbers(f"{type(values).__name__} of type {array.dtype}")
    return array


def plain_draws(draws: ArrayLike) -> Float[np.ndarray, "draws coords"]:
    """Convert one draw a row, of any shape, to float64.

    Args:
        draws: likewise.

    Raises:
        UserError: these are not real numbers, or a single row of them.
    """
    values = plain_values(draws)
    if values.ndim < 2:
        raise UserError(f"expected one row a draw, got shape {values.shape}; try numpy.stack of all draws")
    return values.reshape(values.shape[0], int(np.prod(values.shape[1:])))


def plain_number(name: str, value: ArrayLike) -> float:
    """Convert a single number.

    Args:
        name: of the argument, for the error.
        value: a number, or an array with nothing else in it.

    Raises:
        UserError: it is something else.
    """
    array = plain_values(value)
    if array.ndim:
        raise UserError(f"expected one number as {name}, got shape {array.shape}; try one call for each")
    return float(array)


def _not_numbers(what: str) -> UserError:
    return UserError(
        f"expected an array of real numbers, got {what}; try np.asarray(values, dtype=float), "
        "or tensor.detach().float().cpu().numpy()"
    )
