"""Many layers asked the same question: what is left when chance is given its share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gnoise.quantities import QUESTIONS
from gnoise.records import Verdict

FALSE_DISCOVERY_RATE = 0.05


def benjamini_hochberg(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    r"""Adjust p-values so that calling all below q a discovery makes a share q of them false at most.

    $$q_{(i)} = \min_{j \ge i} \min\!\left(1, \frac{m\,p_{(j)}}{j}\right)$$

    for p-values in ascending order. Holds for independent tests and for positively dependent ones, as those of
    layers which share their draws are.

    Args:
        p_values: in [0, 1].

    References:
        Benjamini & Hochberg 1995, *Controlling the false discovery rate*, JRSS B 57(1).
        Benjamini & Yekutieli 2001, Annals of Statistics 29(4), for positive dependence.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * p_values.size / np.arange(1, p_values.size + 1)
    adjusted = np.empty(p_values.size)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def control_discoveries(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Adjust every p-value for the number of layers asked, and take back answers that chance explains.

    Layers are compared question by question. A verdict other than calm whose q-value is above 0.05 becomes the
    calm answer, and keeps what it would have been as its runner-up; its margin is then negative.

    Args:
        verdicts: of all layers and questions; those without a p-value pass through.
    """
    asked: dict[str, list[int]] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.p_value is not None:
            asked.setdefault(verdict.question, []).append(place)
    controlled = list(verdicts)
    for places in asked.values():
        q_values = benjamini_hochberg(np.array([verdicts[place].p_value for place in places], dtype=np.float64))
        for place, q in zip(places, q_values, strict=True):
            controlled[place] = _controlled(verdicts[place], float(q))
    return controlled


def _controlled(verdict: Verdict, q: float) -> Verdict:
    calm = QUESTIONS[verdict.question].calm
    if verdict.answer is None or verdict.answer == calm or q <= FALSE_DISCOVERY_RATE:
        return replace(verdict, q_value=q)
    margin = None if verdict.margin is None else -verdict.margin
    return replace(verdict, q_value=q, answer=calm, runner_up=verdict.answer, margin=margin)
