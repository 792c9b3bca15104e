"""One parameter's account: forms come in as the backward pass reaches its uses, norms come out."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gnoise.collect.per_example.cost import Method, choose
from gnoise.collect.per_example.form import (
    CANCELLED,
    Form,
    Outer,
    Rows,
    Whole,
    add_rows,
    outer_rows,
    outer_sq_norms,
    projection,
    rows_sq_norms,
)


class Ledger:
    """Adds up the uses of one parameter and keeps no more than the cross terms between them need.

    The gradient of a parameter that is used several times is the sum over its uses, so its squared norm has cross
    terms. Uses of one form are joined along the tokens; a table's lookups and its use as a matrix (a tied head) meet in
    the rows that were looked up.

    Args:
        uses: how many forms will come.
        lookups: row numbers of each lookup in the parameter, by use.
        direction: with which the sum of all gradients is multiplied, for the self-check; ``None`` without one.
        total: zeros in the parameter's shape, to which all gradients are added; ``None`` where only norms are wanted.
    """

    def __init__(
        self,
        uses: int,
        lookups: Mapping[int, Int[Tensor, "B T"]],
        direction: Float[Tensor, " C"] | None = None,
        total: Float[Tensor, "..."] | None = None,
    ) -> None:
        self._outer_uses = uses - len(lookups)
        self._ids = dict(lookups)
        self._direction = direction
        self.total = total
        self._came: set[int] = set()
        self._expected = uses
        self._sq_norms: Tensor | None = None
        self._outers: list[Outer] = []
        self._rows: dict[int, Rows] = {}
        self._outer_rows: dict[int, Tensor] = {}
        self._whole: Tensor | None = None
        self.projection: Float[Tensor, " R"] | None = None
        self.methods: set[Method] = set()
        self.rounding = 0.0

    def add(self, use: int, form: Form, rounding: float) -> None:
        """Take the gradient of one use, and the rounding unit it was computed with."""
        self._came.add(use)
        self.rounding = max(self.rounding, rounding)
        if self._direction is not None:
            projected = projection(form, self._direction)
            self.projection = projected if self.projection is None else self.projection + projected
        match form:
            case Outer():
                self._add_outer(form)
            case Rows():
                self._rows[use] = form
                self.methods.add(Method.SEGMENTS)
                if self.total is not None:
                    add_rows(self.total, form)
            case Whole():
                self._whole = form.grads_B if self._whole is None else self._whole + form.grads_B
                self.methods.add(Method.SUMMED)
                if self.total is not None:
                    self.total.add_(form.grads_B.sum(0))

    @property
    def complete(self) -> bool:
        """Whether every use was seen, and all in forms whose cross terms are known."""
        mixed = self._whole is not None and len(self.methods) > 1
        return len(self._came) == self._expected and not mixed

    def whole(self) -> Float[Tensor, "B ..."] | None:
        """Return the per-example gradients themselves, where they were formed."""
        return self._whole

    def sq_norms(self) -> Float[Tensor, " B"] | None:
        """Close the account; ``None`` where a table's lookups and its use as a matrix cancel, and leave rounding."""
        if self._whole is not None:
            return self._whole.reshape(len(self._whole), -1).square().sum(1)
        if self._outers:
            joined = Outer(*(torch.cat(parts, dim=1) for parts in _sides(self._outers)))
            self._count(self._measured(joined))
        if self._rows:
            order = sorted(self._rows)
            rows = [self._rows[use] for use in order]
            ids_BT = torch.cat([x.ids_BT for x in rows], dim=1)
            grads_BTC = torch.cat([x.grads_BTC for x in rows], dim=1)
            self._count(rows_sq_norms(Rows(ids_BT, grads_BTC, rows[0].rows)))
            if self._outer_rows:
                apart, met_BTC = self._closed(), torch.cat([self._outer_rows[use] for use in order], dim=1)
                self._count(2 * (grads_BTC * met_BTC).sum((1, 2)))
                return None if bool((self._closed() < CANCELLED * apart).any()) else self._closed()
        return self._closed()

    def _closed(self) -> Tensor:
        if self._sq_norms is None:
            raise RuntimeError("a ledger was closed before anything came in")
        return self._sq_norms

    def _add_outer(self, outer: Outer) -> None:
        for use, ids in self._ids.items():
            met = outer_rows(outer, ids)
            self._outer_rows[use] = self._outer_rows[use] + met if use in self._outer_rows else met
        if self._outer_uses == 1:
            self._count(self._measured(outer))
        else:
            self._outers.append(outer)

    def _measured(self, outer: Outer) -> Tensor:
        tokens, rows, columns = *outer.left_BTR.shape[1:], outer.right_BTC.shape[2]
        method = choose(tokens, rows, columns, summed=self.total is not None)
        self.methods.add(method)
        return outer_sq_norms(outer, method, total_RC=None if self.total is None else self.total.view(rows, columns))

    def _count(self, sq_norms: Tensor) -> None:
        self._sq_norms = sq_norms if self._sq_norms is None else self._sq_norms + sq_norms


def _sides(outers: list[Outer]) -> tuple[list[Tensor], list[Tensor]]:
    return [x.left_BTR for x in outers], [x.right_BTC for x in outers]
