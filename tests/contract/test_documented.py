"""Everything a reader can meet is written down: quantities, statuses, remedies, verbs."""

from pathlib import Path

import pytest

from gnoise.cli import VERBS
from gnoise.quantities import QUANTITIES, QUESTIONS
from gnoise.records import Remedy

ROOT = Path(__file__).resolve().parents[2]
METHODS = (ROOT / "docs" / "methods.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantity_is_in_the_methods(quantity: str) -> None:
    assert f"`{quantity}`" in METHODS


def test_every_answer_is_in_the_methods() -> None:
    for question in QUESTIONS.values():
        for name in (question.name, *question.answers):
            assert f"`{name}`" in METHODS


@pytest.mark.parametrize("remedy", [remedy for remedy in Remedy if remedy is not Remedy.NONE])
def test_remedy_is_in_the_methods(remedy: Remedy) -> None:
    assert f"`{remedy}`" in METHODS


@pytest.mark.parametrize("verb", [verb.__name__ for verb in VERBS])
def test_verb_is_in_the_readme(verb: str) -> None:
    assert f"gnoise {verb}" in README
