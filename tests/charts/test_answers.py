"""Verdicts in words: every part is said, and what nobody can know is not."""

import pytest

import gnoise.charts.answers as answers
from gnoise.charts.answers import answer_lines, answer_sentence, answer_table, probability
from gnoise.quantities import Question
from gnoise.records import Status, Verdict
from tests.charts.records import HOSTILE

ASKED = Question("place", "where the noise sits", {"bulk": "everywhere", "loud_rows": "in few rows"}, "bulk", "σ", "")
ROWS = Verdict("wte", "place", "loud_rows", "bulk", 12.3, 1e-9, 32, Status.OK, f"rows 3 {HOSTILE}", 1e-7)
BULK = Verdict("ln", "place", "bulk", "", None, 0.4, 32, Status.OK, "", 0.6)
SILENT = Verdict("b", "place", None, "", None, None, 0, Status.ALL_ZERO)


@pytest.fixture(autouse=True)
def _question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "QUESTIONS", {"place": ASKED})


def test_a_sentence_has_answer_meaning_runner_up_and_names() -> None:
    assert answer_sentence(ROWS) == (
        f"where the noise sits: loud rows (in few rows); next best bulk, 12.3 σ behind; rows 3 {HOSTILE}"
    )
    assert answer_sentence(BULK) == "where the noise sits: bulk (everywhere)"


def test_no_answer_is_advice() -> None:
    assert answer_sentence(SILENT) == f"where the noise sits: {Status.ALL_ZERO.advice}"


def test_an_answer_taken_back_says_so() -> None:
    taken = Verdict("a", "place", "bulk", "loud_rows", -2.0, 0.04, 32, Status.OK, "", 0.4)
    assert answer_sentence(taken).endswith("loud rows fits better, but so far chance explains it")


def test_layers_are_counted_and_the_loud_ones_named() -> None:
    assert answer_lines([ROWS, BULK, SILENT]) == [
        "where the noise sits, of 2 layers: loud rows in 1 (wte)",
    ]
    assert answer_lines([SILENT, BULK]) == []


def test_the_table_has_every_verdict() -> None:
    table = answer_table([ROWS, BULK, SILENT])
    assert list(table["answer"]) == ["loud rows", "bulk", "–"]
    assert list(table["q of calm"]) == ["< 0.0001", "0.600", "–"]
    assert probability(SILENT) == "–"


def test_a_question_of_a_newer_version_keeps_its_name() -> None:
    unknown = Verdict("a", "colour", "blue", "red", 1.0, None, 3, Status.OK)
    assert answer_sentence(unknown) == "colour: blue; next best red, 1.00 behind"
