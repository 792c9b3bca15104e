"""Verdicts in words: one layer's, and what all layers' come to."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from gnoise.charts.phrases import number
from gnoise.quantities import QUESTIONS
from gnoise.records import Status, Verdict

_LEFT_OUT = ("tails_entries", "averaging")
_LEAST = 1e-4
_FAR = 20.0


def answer_sentence(verdict: Verdict) -> str:
    """``noise by itself: student_t (…); next best gaussian, 2.1 z behind``; advice where there is no answer.

    Args:
        verdict: of any question; an unknown one, of a newer version, keeps its own name.
    """
    question = QUESTIONS.get(verdict.question)
    words = verdict.question if question is None else question.words
    if verdict.answer is None:
        return f"{words}: {verdict.status.advice}"
    meaning = "" if question is None else question.answers.get(verdict.answer, "")
    parts = [f"{words}: {spaced(verdict.answer)}{f' ({meaning})' if meaning else ''}", closeness(verdict)]
    parts += [verdict.note, "" if verdict.status is Status.OK else verdict.status.advice]
    return "; ".join(filter(None, parts))


def closeness(verdict: Verdict) -> str:
    """Say what else it might have been, and how far behind that is; empty where nothing else was in question.

    Args:
        verdict: with an answer.
    """
    question = QUESTIONS.get(verdict.question)
    if not verdict.runner_up:
        return ""
    if verdict.margin is None:
        return f"next best {spaced(verdict.runner_up)}"
    if verdict.margin < 0.0:
        return f"{spaced(verdict.runner_up)} fits better, but so far chance explains it"
    if verdict.margin > _FAR:
        return f"next best {spaced(verdict.runner_up)}, far behind"
    unit = "" if question is None or not question.margin else f" {question.margin}"
    return f"next best {spaced(verdict.runner_up)}, {number(verdict.margin)}{unit} behind"


def answer_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Sum up each question over the layers, a line each, with the surest layer of every answer that is not calm.

    Left out are questions to which every layer gave the calm answer, the law of all entries pooled (unequal scales
    alone make it heavy), and averaging, which has a line of its own on the first screen.

    Args:
        verdicts: of all layers and questions.
    """
    return [_line(name, [v for v in verdicts if v.question == name]) for name in _telling(verdicts)]


def answer_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Make one row a verdict.

    Args:
        verdicts: in the order to show them.
    """
    rows = [
        (
            QUESTIONS[v.question].words if v.question in QUESTIONS else v.question,
            "–" if v.answer is None else spaced(v.answer),
            closeness(v) or "–",
            probability(v),
            v.n,
            "; ".join(filter(None, ("" if v.status is Status.OK else v.status.advice, v.note))),
        )
        for v in verdicts
    ]
    return pd.DataFrame(rows, columns=["question", "answer", "how close", "q of calm", "n", "remarks"])


def probability(verdict: Verdict) -> str:
    """Write the adjusted p-value of the calm answer; the plain one where layers were not compared.

    Args:
        verdict: any.
    """
    chance = verdict.p_value if verdict.q_value is None else verdict.q_value
    if chance is None:
        return "–"
    return f"< {_LEAST}" if chance < _LEAST else number(chance)


def spaced(answer: str) -> str:
    """``student_t`` to ``student t``."""
    return answer.replace("_", " ")


def _telling(verdicts: Sequence[Verdict]) -> list[str]:
    """Questions with an answer that is not calm, in the glossary's order."""
    answers = {name: {v.answer for v in verdicts if v.question == name} for name in QUESTIONS if name not in _LEFT_OUT}
    return [name for name, given in answers.items() if given - {None, QUESTIONS[name].calm}]


def _line(name: str, verdicts: Sequence[Verdict]) -> str:
    question = QUESTIONS[name]
    answered = [v for v in verdicts if v.answer is not None]
    counts = Counter(str(v.answer) for v in answered if v.answer != question.calm)
    parts: list[str] = []
    for answer, count in counts.most_common():
        surest = min((v for v in answered if v.answer == answer), key=_chance)
        parts.append(f"{spaced(answer)} in {count} ({surest.layer}{', …' if count > 1 else ''})")
    return f"{question.words}, of {len(answered)} layers: {', '.join(parts)}"


def _chance(verdict: Verdict) -> float:
    return 1.0 if verdict.q_value is None else verdict.q_value
