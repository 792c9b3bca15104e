"""Who uses what in an autograd graph: the edges that hooks on modules cannot see."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from gnoise.collect.per_example.form import to_shape

_CAST = "ToCopyBackward0"
_SHAPE_ONLY = frozenset(
    f"{name}Backward{number}"
    for name in ("Slice", "Select", "Unsqueeze", "Squeeze", "View", "Transpose", "Permute", "T")
    for number in (0, 1, 2)
)
"""Each entry of their result is one entry of their input, none twice: gradients keep their norm on the way."""
_CHOOSING = frozenset(f"{name}Backward0" for name in ("Index", "IndexSelect", "Gather", "MaskedSelect", "Sort"))
"""What comes out need not lie in the order of examples, nor be as many of each."""
_PUTTING_BACK = frozenset(f"{name}Backward0" for name in ("IndexAdd", "IndexPut", "Scatter", "ScatterAdd"))


@dataclass(frozen=True)
class Use:
    """One place where a value enters an operation.

    Attributes:
        node: of the operation.
        position: of the value among its inputs.
    """

    node: Node
    position: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the operation's result."""
        return tuple(self.node._input_metadata[0].shape)  # pyright: ignore[reportPrivateUsage]

    @property
    def signature(self) -> tuple[str, int]:
        """What must be the same when another batch goes through the same code."""
        return self.node.name(), self.position


@dataclass
class Graph:
    """Every edge of the graph behind a loss, turned round.

    Attributes:
        leaves: the accumulating node of each parameter that the loss reaches, by ``id``.
        nodes: all of them; holding them keeps their identity.
    """

    leaves: dict[int, Node] = field(default_factory=dict)
    nodes: set[Node] = field(default_factory=set)
    _uses: dict[Node, list[Use]] = field(default_factory=dict)

    def uses(self, node: Node) -> list[Use]:
        """List the operations that a value enters, in an order that only depends on the code that ran."""
        return self._uses.get(node, [])

    def uses_of(self, parameter: nn.Parameter) -> list[Use]:
        """List the operations that a parameter enters; none where the loss does not depend on it.

        Casts and transposes are looked through: autocast makes one for all uses of a weight, and a layer one that its
        own gradient uses as well where the loss contains it.
        """
        leaf = self.leaves.get(id(parameter))
        return [] if leaf is None else self._behind_views(leaf)

    @property
    def rounding(self) -> float:
        """Unit of the coarsest floating-point numbers computed on the way, whatever the parameters are kept in."""
        return max((torch.finfo(dtype).eps for dtype in self.dtypes), default=0.0)

    @property
    def dtypes(self) -> set[torch.dtype]:
        """List the types that gradients come in."""
        kinds = {x.dtype for node in self.nodes for x in node._input_metadata}  # pyright: ignore[reportPrivateUsage]
        return {dtype for dtype in kinds if dtype.is_floating_point or dtype.is_complex}

    def broadcasts(self, node: Node, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[Use]]:
        """Follow a value through slices and reshapes, as long as it has one use, to where it is really used.

        Returns:
            the shape in which it arrives there, and the operations.
        """
        found = self.uses(node)
        while len(found) == 1 and found[0].node.name() in _SHAPE_ONLY:
            node, shape = found[0].node, found[0].shape
            found = self.uses(node)
        return shape, found

    def chosen_from(self, values: Iterable[Node]) -> set[Node]:
        """Find what is computed from a choice among these values, as an expert's input is, until it is put back."""
        choices = {node for node in self.after(values) if node.name() in _CHOOSING}
        return choices | self.after(choices, until=_PUTTING_BACK)

    def after(self, nodes: Iterable[Node], *, until: frozenset[str] = frozenset()) -> set[Node]:
        """Find all that is computed from some values, up to operations of these names."""
        found: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            for use in self.uses(waiting.pop()):
                if use.node not in found and use.node.name() not in until:
                    found.add(use.node)
                    waiting.append(use.node)
        return found

    def _behind_views(self, node: Node) -> list[Use]:
        views = {_CAST, *_SHAPE_ONLY}
        found = [self._behind_views(x.node) if x.node.name() in views else [x] for x in self.uses(node)]
        return [use for uses in found for use in uses]

    def add(self, node: Node) -> Iterator[Node]:
        """Note a node's inputs and yield those not met before."""
        for position, (source, _) in enumerate(node.next_functions):
            if source is None:
                continue
            self._uses.setdefault(source, []).append(Use(node, position))
            if source not in self.nodes:
                self.nodes.add(source)
                variable = getattr(source, "variable", None)
                if isinstance(variable, nn.Parameter):
                    self.leaves[id(variable)] = source
                yield source


def graph_of(loss: Tensor) -> Graph:
    """Walk a loss's graph."""
    graph = Graph()
    if loss.grad_fn is None:
        return graph
    graph.nodes.add(loss.grad_fn)
    waiting = [loss.grad_fn]
    while waiting:
        waiting.extend(graph.add(waiting.pop()))
    return graph


def share(use: Use) -> Callable[[Tensor, tuple[int, ...]], Tensor] | None:
    """Find how an operation passes its result's gradient on, per example, to a value that it broadcast.

    Returns:
        (gradient of the result, shape of the value) to per-example gradients of the value; ``None`` where the
        operation is not an addition, an expansion or a multiplication of real numbers.
    """
    if use.node._input_metadata[0].dtype.is_complex:  # pyright: ignore[reportPrivateUsage]
        return None  # a real value's gradient is the real part of what a complex one's would be
    match use.node.name(), use.position:
        case ("AddBackward0", 0) | ("ExpandBackward0", _):
            return to_shape
        case ("AddBackward0", 1):
            alpha = use.node._saved_alpha  # pyright: ignore[reportAttributeAccessIssue]
            return to_shape if alpha == 1 else None
        case ("MulBackward0", position):
            factor = use.node._saved_other if position == 0 else use.node._saved_self  # pyright: ignore[reportAttributeAccessIssue]
            return (lambda grad, shape: to_shape(grad * factor, shape)) if isinstance(factor, torch.Tensor) else None
        case _:
            return None
