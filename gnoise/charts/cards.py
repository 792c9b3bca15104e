"""A recommendation in words: what it is, why, what it rests on, what it may gain, what to paste."""

from dataclasses import dataclass

from gnoise.charts.tables import call, evidence, expected_gain
from gnoise.records import Recommendation, Remedy, Status


@dataclass(frozen=True)
class Card:
    """A recommendation as the first screen shows it, on a page or in a report.

    Attributes:
        name: of the remedy, or that there is none.
        where: the layer, or the whole model.
        reason: one sentence.
        details: the evidence and the expected gain, a line each.
        code: the remedy with its parameters; empty where there is nothing to set.
    """

    name: str
    where: str
    reason: str
    details: tuple[str, ...]
    code: str


def card(recommendation: Recommendation) -> Card:
    """Put a recommendation into words.

    Args:
        recommendation: of any remedy, none included.
    """
    rests_on = evidence(recommendation)
    details = [f"Rests on: {rests_on}"] if rests_on else []
    if recommendation.remedy is not Remedy.NONE:
        details.append(f"Expected gain: {expected_gain(recommendation)}")
    return Card(
        name=_name(recommendation),
        where=recommendation.layer or "the whole model",
        reason=f"{recommendation.reason[:1].upper()}{recommendation.reason[1:]}",
        details=tuple(details),
        code=call(recommendation) if recommendation.params else "",
    )


def _name(recommendation: Recommendation) -> str:
    if recommendation.remedy is not Remedy.NONE:
        return str(recommendation.remedy)
    return "No remedy needed" if recommendation.status is Status.OK else "No answer yet"
