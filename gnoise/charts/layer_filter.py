"""Layers kept by an expression that a reader typed: comparisons joined by ``and``, read as data and never run."""

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gnoise.errors import UserError
from gnoise.quantities import QUANTITIES
from gnoise.records import Estimate, Layer, Recommendation

EXAMPLE = 'b_simple > 100 and kind == "mlp"'
_TRY = f'try {EXAMPLE}, or layer ~ "h[.][0-3][.]"'
_WORDS = ("layer", "kind", "shape", "remedy")
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_MATCHES = ("==", "!=", "~", "!~")
_TERM = re.compile(
    r"""\s*+(?P<name>\w++)\s*+(?P<sign>[=!<>~]++)\s*+
    (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<number>[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?))
    \s*+(?:\band\b|(?P<end>$))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Comparison:
    """``name sign wanted``, of a layer.

    Attributes:
        name: of a quantity, or one of ``layer``, ``kind``, ``shape``, ``remedy``.
        sign: an order for a number; for text ``==``, ``!=``, or ``~`` and ``!~`` with a regular expression.
        wanted: a number for a quantity, else text.
    """

    name: str
    sign: str
    wanted: float | str


def read_filter(expression: str) -> tuple[Comparison, ...]:
    """Read comparisons joined by ``and``.

    Args:
        expression: as typed; nothing in it is evaluated.

    Returns:
        all that a layer must fulfil; none for an empty expression.

    Raises:
        UserError: not such comparisons, an unknown name, or a sign or value that does not go with the name.
    """
    comparisons: list[Comparison] = []
    place, done = 0, not expression.strip()
    while not done:
        term = _TERM.match(expression, place)
        if term is None:
            rest = expression[place:].strip() or "nothing"
            raise UserError(f"expected name, sign and value, joined by and, got {rest}; {_TRY}")
        comparisons.append(_comparison(term))
        place, done = term.end(), term["end"] is not None
    return tuple(comparisons)


def kept_layers(
    comparisons: Sequence[Comparison],
    layers: Sequence[Layer],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
) -> frozenset[str]:
    """Name the layers that fulfil every comparison; where there is no number, none is fulfilled.

    Args:
        comparisons: none keeps every layer.
        layers: of the model.
        estimates: of any layers and quantities.
        recommendations: of any scope; a layer without one has an empty remedy.
    """
    values = {(each.layer, each.quantity): each.value for each in estimates}
    remedies = {each.layer: str(each.remedy) for each in recommendations}
    kept = [True] * len(layers)
    for comparison in comparisons:
        if isinstance(comparison.wanted, str):
            texts = [_texts(layer, remedies)[comparison.name] for layer in layers]
            holds = _text_holds(texts, comparison.sign, comparison.wanted)
        else:
            numbers = [values.get((layer.name, comparison.name)) for layer in layers]
            compare, wanted = _ORDERS[comparison.sign], comparison.wanted
            holds = [value is not None and compare(value, wanted) for value in numbers]
        kept = [before and now for before, now in zip(kept, holds, strict=True)]
    return frozenset(layer.name for layer, keep in zip(layers, kept, strict=True) if keep)


def _comparison(term: re.Match[str]) -> Comparison:
    name, sign, number = term["name"], term["sign"], term["number"]
    if name not in QUANTITIES and name not in _WORDS:
        near = difflib.get_close_matches(name[:80], [*_WORDS, *QUANTITIES], n=1, cutoff=0.0)[0]
        raise UserError(f"expected a quantity, or one of {', '.join(_WORDS)}, got {name}; try {near}")
    if name in _WORDS:
        if number is not None or sign not in _MATCHES:
            raise UserError(f"expected {name} with one of {' '.join(_MATCHES)} and a text in quotes; {_TRY}")
        text = term["double"] if term["single"] is None else term["single"]
        _text_holds([name], sign, text)  # a regular expression that is none is refused here
        return Comparison(name, sign, text)
    if number is None or sign not in _ORDERS:
        raise UserError(f"expected {name} with one of {' '.join(_ORDERS)} and a number; try {name} > 1.5")
    return Comparison(name, sign, float(number))


def _texts(layer: Layer, remedies: Mapping[str | None, str]) -> Mapping[str, str]:
    return {
        "layer": layer.name,
        "kind": str(layer.kind),
        "shape": " × ".join(str(side) for side in layer.shape) or "scalar",
        "remedy": remedies.get(layer.name, ""),
    }


def _text_holds(texts: Sequence[str], sign: str, wanted: str) -> list[bool]:
    if sign in ("==", "!="):
        return [(text == wanted) is (sign == "==") for text in texts]
    # Arrow's expressions are RE2: whatever is typed, time grows with the length of the names and no faster.
    try:
        found = pc.call_function(
            "match_substring_regex", [pa.array(texts, pa.string())], pc.MatchSubstringOptions(wanted)
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"expected a regular expression, got {wanted} ({error}); {_TRY}") from error
    return [bool(match.as_py()) is (sign == "~") for match in found]
