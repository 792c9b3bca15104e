"""Layers and estimates as rows of text and numbers, ready for any table."""

from collections.abc import Sequence

import pandas as pd

from gnoise.charts.phrases import number, short
from gnoise.quantities import QUANTITIES
from gnoise.records import Estimate, JsonValue, Layer, Recommendation, Status
from gnoise.rules.matters import interval_words, saving_words

LAYER_QUANTITIES = (
    "b_simple",
    "alpha_entries",
    "alpha_draws",
    "averaging_slope",
    "row_dispersion",
    "spike_ratio",
)
WITH_INTERVAL = frozenset({"b_simple"})


def layer_table(
    layers: Sequence[Layer], estimates: Sequence[Estimate], recommendations: Sequence[Recommendation]
) -> pd.DataFrame:
    """Make one row a layer: what it is, its main numbers, its remedy.

    Numbers stand as floats, so that a reader can sort; the noise scale has a second column with its
    interval as text. Where there is no number the cell is empty.

    Args:
        layers: in the model's order.
        estimates: of any layers and quantities.
        recommendations: of any scope; a layer without one has an empty remedy.
    """
    found = {(estimate.layer, estimate.quantity): estimate for estimate in estimates}
    remedies = {each.layer: str(each.remedy) for each in recommendations if each.layer is not None}
    rows: dict[str, Sequence[object]] = {"layer": [layer.name for layer in layers]}
    rows["kind"] = [str(layer.kind) for layer in layers]
    rows["shape"] = [" × ".join(str(side) for side in layer.shape) or "scalar" for layer in layers]
    for quantity in LAYER_QUANTITIES:
        column = [found.get((layer.name, quantity)) for layer in layers]
        rows[quantity] = [None if each is None else each.value for each in column]
        if quantity in WITH_INTERVAL:
            intervals = ["–" if each is None else interval_or_reason(each) for each in column]
            rows[f"{quantity}_interval"] = intervals
    rows["remedy"] = [remedies.get(layer.name, "") for layer in layers]
    table = pd.DataFrame(rows)
    numbers = list(LAYER_QUANTITIES)
    table[numbers] = table[numbers].astype("float64")
    return table


def estimate_table(estimates: Sequence[Estimate]) -> pd.DataFrame:
    """Make one row an estimate, all in words.

    Args:
        estimates: in the order to show them.
    """
    rows = [
        (
            title(each.quantity),
            "–" if each.value is None else number(each.value),
            interval_or_reason(each),
            QUANTITIES[each.quantity].unit if each.quantity in QUANTITIES else "",
            each.n,
            remarks(each),
        )
        for each in estimates
    ]
    return pd.DataFrame(rows, columns=["quantity", "value", "95% interval", "unit", "n", "remarks"])


def evidence(recommendation: Recommendation) -> str:
    """Write what a recommendation rests on, each number with its interval.

    Args:
        recommendation: with any number of estimates behind it.
    """
    return "; ".join(f"{title(each.quantity)} {short(each)}" for each in recommendation.because)


def expected_gain(recommendation: Recommendation) -> str:
    """Say what a remedy may gain, a step and in tokens, or that it was not measured."""
    low, high = recommendation.gain_low, recommendation.gain_high
    if low is None:
        return "not measured; try it both ways before trusting it"
    gain = f"{recommendation.gain or low:.2f} times the progress per step ({interval_words(low, high)})"
    return ", ".join(filter(None, (gain, saving_words(recommendation))))


def call(recommendation: Recommendation) -> str:
    """Write a remedy with its parameters as Python, four digits of each; ``recommendations.json`` has them all.

    Args:
        recommendation: of any remedy.
    """
    arguments = ", ".join(f"{name}={_digits(value)}" for name, value in recommendation.params.items())
    return f"{recommendation.remedy}({arguments})"


def _digits(value: JsonValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def interval_or_reason(estimate: Estimate) -> str:
    """Write the ends of the interval, or the status word where there are none.

    Args:
        estimate: any.
    """
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    if low is not None:
        return f"≥ {number(low)}"
    if high is not None:
        return f"≤ {number(high)}"
    return "none" if estimate.value is not None else str(estimate.status).replace("_", " ")


def remarks(estimate: Estimate) -> str:
    """Join advice and note; empty where there is neither.

    Args:
        estimate: any.
    """
    return "; ".join(filter(None, (advice(estimate), estimate.note)))


def advice(estimate: Estimate) -> str:
    """Say why there is no number, or what to mind about it; empty where all is well.

    Args:
        estimate: any.
    """
    return "" if estimate.status is Status.OK else estimate.status.advice


def title(quantity: str) -> str:
    """Name a quantity in plain words, its symbol after them; an unknown one keeps its own name.

    Args:
        quantity: a name from :mod:`gnoise.quantities`, or one that a newer version wrote.
    """
    known = QUANTITIES.get(quantity)
    if known is None:
        return quantity
    symbol = known.symbol.partition(" (")[0]  # "α (draws)": the words say already which one
    return f"{known.words} ({symbol})" if symbol else known.words
