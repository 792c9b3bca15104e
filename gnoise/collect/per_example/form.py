r"""The three forms in which a layer's per-example gradients are known without being written out.

Shape suffixes: B examples, T tokens (any positions inside an example), R and C rows and columns of a parameter,
N rows of a table.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gnoise.collect.per_example.cost import Method, choose

CANCELLED = 1 / 64
"""Of the sum of squares of what is added up, below which a squared norm is mostly what rounding left of it: it carries
64 times the rounding of its terms."""
_CHUNK = 1 << 18
"""Entries of per-example gradients held at a time: 1 MiB in float32 stays in reach of a core's cache."""
_GPU_CHUNK = 1 << 24
"""Likewise on a GPU, 64 MiB: fewer launches, of products that fill it."""


@dataclass(frozen=True)
class Outer:
    r"""Example b's gradient is $\sum_t \ell_{bt} r_{bt}^\top$: linear layers and convolutions."""

    left_BTR: Float[Tensor, "B T R"]
    right_BTC: Float[Tensor, "B T C"]


@dataclass(frozen=True)
class Rows:
    r"""Example b's gradient adds $g_{bt}$ to row $i_{bt}$: lookups in a table."""

    ids_BT: Int[Tensor, "B T"]
    grads_BTC: Float[Tensor, "B T C"]
    rows: int


@dataclass(frozen=True)
class Whole:
    """Example b's gradient itself, where it is small: norms, biases, position tables."""

    grads_B: Float[Tensor, "B ..."]


Form = Outer | Rows | Whole


def outer_sq_norms(
    outer: Outer, method: Method | None = None, *, total_RC: Float[Tensor, "R C"] | None = None
) -> Float[Tensor, " B"]:
    r"""Square the norms of sums of outer products, and add these sums up where that is asked for.

    Either $\|L_b^\top R_b\|_F^2$ as written, a few examples at a time, or $\langle L_bL_b^\top, R_bR_b^\top\rangle$.
    The latter's rounding is that of $\sum_t \|\ell_{bt}\|^2\|r_{bt}\|^2$, its diagonal: examples whose tokens cancel
    to less than ``CANCELLED`` of it are formed after all.

    Args:
        outer: the factors.
        method: ``None`` lets the cost model choose.
        total_RC: to which $\sum_b L_b^\top R_b$ is added in place.
    """
    left, right = outer.left_BTR, outer.right_BTC
    examples, tokens, rows = left.shape
    columns = right.shape[2]
    method = method or choose(tokens, rows, columns, summed=total_RC is not None)
    if method is Method.SIMULTANEOUS:
        return _formed(left, right, total_RC)
    if total_RC is not None:
        total_RC.addmm_(left.reshape(examples * tokens, rows).mT, right.reshape(examples * tokens, columns))
    if tokens == 1:
        return left.square().sum((1, 2)) * right.square().sum((1, 2))
    terms_BTT = torch.bmm(left, left.mT) * torch.bmm(right, right.mT)
    found = terms_BTT.sum((1, 2))
    cancelled = (found < CANCELLED * terms_BTT.diagonal(dim1=1, dim2=2).sum(1)).nonzero().squeeze(1)
    if len(cancelled):
        found[cancelled] = _formed(left[cancelled], right[cancelled], None)
    return found


def _formed(left_BTR: Tensor, right_BTC: Tensor, total_RC: Tensor | None) -> Tensor:
    """Form a few examples' gradients at a time, always in the same memory: it stays in the cache."""
    examples, rows, columns = len(left_BTR), left_BTR.shape[2], right_BTC.shape[2]
    chunk = _CHUNK if left_BTR.device.type == "cpu" else _GPU_CHUNK
    step = min(examples, max(1, chunk // (rows * columns)))
    held_SRC = left_BTR.new_empty(step, rows, columns)
    norms: list[Tensor] = []
    for start in range(0, examples, step):
        here = slice(start, start + step)
        formed_SRC = held_SRC[: len(left_BTR[here])]
        torch.bmm(left_BTR[here].mT, right_BTC[here], out=formed_SRC)
        # Row by row: one float32 sum over all entries loses digits.
        norms.append(torch.linalg.vector_norm(torch.linalg.vector_norm(formed_SRC, dim=2), dim=1))
        if total_RC is not None:
            total_RC.add_(formed_SRC[0] if len(formed_SRC) == 1 else formed_SRC.sum(0))
    return torch.cat(norms).square()


def rows_sq_norms(rows: Rows) -> Float[Tensor, " B"]:
    """Square the norms of table gradients: rows that an example visits twice are summed first.

    Costs O(BTC) whatever the size of the table: only visited rows are held.
    """
    examples, tokens, columns = rows.grads_BTC.shape
    owner_BT = torch.arange(examples, device=rows.ids_BT.device)[:, None]
    visited, segment = torch.unique(owner_BT * rows.rows + rows.ids_BT, return_inverse=True)
    sums = rows.grads_BTC.new_zeros(len(visited), columns)
    sums.index_add_(0, segment.reshape(examples * tokens), rows.grads_BTC.reshape(examples * tokens, columns))
    result = rows.grads_BTC.new_zeros(examples)
    return result.index_add_(0, visited // rows.rows, sums.square().sum(1))


def outer_rows(outer: Outer, ids_BT: Int[Tensor, "B S"]) -> Float[Tensor, "B S C"]:
    r"""Read the rows $i_{bs}$ of each example's outer-product gradient, without forming the others.

    With $g_{bs}$ the gradients that a table's lookups add to the same rows, $2\sum_s\langle g_{bs}, \cdot\rangle$ is
    the exact cross term of an embedding tied to its head.
    """
    tokens = outer.left_BTR.shape[1]
    picked_BTS = outer.left_BTR.gather(2, ids_BT[:, None, :].expand(-1, tokens, -1))
    return torch.bmm(picked_BTS.mT, outer.right_BTC)


def projection(form: Form, direction_C: Float[Tensor, " C"]) -> Float[Tensor, " R"]:
    """Multiply the sum of all examples' gradients, as a matrix, with a vector, without forming it.

    Two matrices that agree on a random vector are equal, but for a set of vectors of measure zero.
    """
    match form:
        case Outer():
            weights = (form.right_BTC @ direction_C).reshape(-1)
            return form.left_BTR.reshape(len(weights), -1).mT @ weights
        case Rows():
            values = (form.grads_BTC @ direction_C).reshape(-1)
            return values.new_zeros(form.rows).index_add_(0, form.ids_BT.reshape(-1), values)
        case Whole():
            return form.grads_B.sum(0).reshape(-1, len(direction_C)) @ direction_C


def add_rows(total_NC: Float[Tensor, "N C"], rows: Rows) -> None:
    """Add every example's lookups to the gradient of the table, in place."""
    columns = total_NC.shape[1]
    total_NC.index_add_(0, rows.ids_BT.reshape(-1), rows.grads_BTC.reshape(-1, columns))


def to_shape(grads: Float[Tensor, "B ..."], shape: tuple[int, ...]) -> Float[Tensor, "B ..."]:
    """Sum each example's gradient over whatever its parameter was broadcast over.

    Args:
        grads: of a result to which a tensor of ``shape`` was broadcast; examples first.
        shape: of the parameter; where as long as ``grads``, its first side is 1.
    """
    aligned = (1,) * (grads.ndim - len(shape)) + shape
    over = [axis for axis in range(1, grads.ndim) if aligned[axis] == 1 and grads.shape[axis] != 1]
    return (grads.sum(over) if over else grads).reshape(len(grads), *shape)
