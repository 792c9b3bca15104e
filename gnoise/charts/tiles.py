"""The four numbers of the first screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from gnoise.charts.phrases import interval, number, plural, with_sign
from gnoise.charts.tables import advice
from gnoise.records import Estimate, RunInfo


@dataclass(frozen=True)
class Tile:
    """One number for the first screen.

    Attributes:
        label: what it is, plain words first.
        value: the number with its unit, or a dash.
        detail: its interval, what to hold it against, and which layer; or why there is no number.
    """

    label: str
    value: str
    detail: str


def tiles(info: RunInfo, estimates: Sequence[Estimate]) -> tuple[Tile, ...]:
    """Pick noise scale, heaviest tail across draws, flattest averaging and norm spikes.

    Args:
        info: of the run.
        estimates: all of the run's.
    """
    return (
        _noise_scale(info, _of_model(estimates, "b_simple")),
        _heaviest_tail(_of_layers(estimates, "alpha_draws")),
        _flattest_averaging(_of_layers(estimates, "averaging_slope")),
        _spikes(_of_model(estimates, "spike_ratio")),
    )


def _noise_scale(info: RunInfo, estimate: Estimate | None) -> Tile:
    label = "Noise scale (B_simple)"
    if estimate is None:
        return _not_analyzed(label)
    batch = info.training_batch
    unit = plural(info.example)
    beside = "no batch size in the checkpoint" if batch is None else f"your batch: {batch:,} {unit}"
    if estimate.value is None:
        bound = "" if estimate.low is None else f"{interval(estimate)} · "
        return Tile(label, "–", f"{bound}{advice(estimate)} · {beside}")
    return Tile(label, f"{number(estimate.value)} {unit}", f"{_sure(estimate)} · {beside}")


def _heaviest_tail(found: Sequence[Estimate]) -> Tile:
    label = "Heaviest tail across draws (α)"
    measured = [each for each in found if each.value is not None]
    if not measured:
        return _no_number(label, found)
    worst = min(measured, key=lambda each: each.value or 0.0)
    detail = f"{_sure(worst)} · lowest of {len(measured)} layers: {worst.layer} · 2 is Gaussian"
    return Tile(label, number(worst.value or 0.0), detail)


def _flattest_averaging(found: Sequence[Estimate]) -> Tile:
    label = "Averaging slope"
    measured = [each for each in found if each.value is not None]
    if not measured:
        return _no_number(label, found)
    worst = max(measured, key=lambda each: each.value or 0.0)
    detail = f"{_sure_of_slope(worst)} · flattest of {len(measured)} layers: {worst.layer} · -0.5 is Gaussian"
    return Tile(label, f"{with_sign(worst.value or 0.0)} per doubling", detail)


def _spikes(estimate: Estimate | None) -> Tile:
    label = "Norm spikes (max ‖g‖ / median ‖g‖)"
    if estimate is None:
        return _not_analyzed(label)
    if estimate.value is None:
        return Tile(label, "–", advice(estimate))
    named = f" · {estimate.note}" if estimate.note else ""
    return Tile(label, f"{number(estimate.value)} ×", f"{_sure(estimate)} · 1 to 2 is calm{named}")


def _sure(estimate: Estimate) -> str:
    caution = advice(estimate)
    return f"{interval(estimate)}" + (f" · {caution}" if caution else "")


def _sure_of_slope(estimate: Estimate) -> str:
    """The ends of a slope, with their signs."""
    if estimate.low is None or estimate.high is None:
        return _sure(estimate)
    ends = f"95% interval {with_sign(estimate.low)} to {with_sign(estimate.high)}"
    return " · ".join(filter(None, [ends, advice(estimate)]))


def _no_number(label: str, found: Sequence[Estimate]) -> Tile:
    """Give the commonest reason why no layer has a number."""
    if not found:
        return _not_analyzed(label)
    reasons = [advice(each) for each in found]
    return Tile(label, "–", max(set(reasons), key=reasons.count))


def _not_analyzed(label: str) -> Tile:
    return Tile(label, "–", "not in this run yet: run gnoise analyze")


def _of_model(estimates: Sequence[Estimate], quantity: str) -> Estimate | None:
    return next((each for each in estimates if each.layer is None and each.quantity == quantity), None)


def _of_layers(estimates: Sequence[Estimate], quantity: str) -> list[Estimate]:
    return [each for each in estimates if each.layer is not None and each.quantity == quantity]
