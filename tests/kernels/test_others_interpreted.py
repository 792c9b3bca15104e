from functools import cache
from typing import Any

import pytest

from tests.kernels.interpreter import interpreted


@cache
def found() -> dict[str, Any]:
    return interpreted("others_worker.py")


def test_linear_norms_agree_with_float64_in_either_order() -> None:
    errors = found()["linear"]
    assert len(errors) == 2 * 5 * 3
    assert {name: error for name, error in errors.items() if max(error) > 1e-6} == {}


def test_linear_norms_at_the_edges() -> None:
    edges = found()["linear edges"]
    assert edges.pop("nan") == [True, False, True]
    assert edges.pop("empty") == [[0.0, 0.0, 0.0]]
    assert set(edges) == {"strided", "weighted", "mixed", "repeats"}
    assert all(edges.values()), edges


@pytest.mark.parametrize("what", ["raw", "standardised", "as the reference", "16 bits", "empty", "one value"])
def test_sketches_are_exact(what: str) -> None:
    assert found()["sketch"][what] is True


def test_moments_agree_with_the_formulas() -> None:
    errors = dict(found()["entrywise"])
    assert errors.pop("bad entries") == 1.0  # clipping bounds an infinity and keeps a NaN
    assert len(errors) == 4 * 3
    assert max(errors.values()) <= 1e-6, errors


def test_a_single_moment_of_64_bits_keeps_its_precision() -> None:
    assert found()["one wider is refused"] is True
