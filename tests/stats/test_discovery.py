"""Benjamini and Hochberg's rule by hand, on simulated nulls, and what it does to verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gnoise.stats.discovery as discovery
from gnoise.quantities import Question
from gnoise.records import Status, Verdict
from gnoise.stats.discovery import benjamini_hochberg, control_discoveries

HEAVY = Verdict("a", "tails", "heavy", "calm", 3.0, 0.001, 8, Status.OK, "row 3")


@pytest.fixture(autouse=True)
def _question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Question("tails", "tails", {"calm": "", "heavy": ""}, "calm", "z", "")
    monkeypatch.setattr(discovery, "QUESTIONS", {"tails": asked})


def test_the_rule_by_hand() -> None:
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.04, 0.01, 0.03, 0.5])), [0.16 / 3, 0.04, 0.16 / 3, 0.5])


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0.0, 1.0)))
def test_adjusted_values_are_larger_and_keep_their_order(p_values: np.ndarray) -> None:
    q_values = benjamini_hochberg(p_values)
    assert np.all(q_values >= p_values * (1.0 - 1e-12))
    assert np.all(q_values <= 1.0)
    assert np.all(np.diff(q_values[np.argsort(p_values, kind="stable")]) >= 0.0)


def test_of_nothing_but_chance_little_is_discovered() -> None:
    rng = np.random.default_rng(3)
    found = [bool(np.any(benjamini_hochberg(rng.random(50)) <= 0.05)) for _ in range(2000)]
    assert 0.035 < np.mean(found) < 0.065


def test_of_many_discoveries_few_are_false() -> None:
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(1000):
        p_values = np.concatenate([rng.random(80), rng.random(20) * 1e-3])
        called = benjamini_hochberg(p_values) <= 0.05
        shares.append(called[:80].sum() / max(1, called.sum()))
    assert np.mean(shares) <= 0.05


def test_an_answer_that_chance_explains_is_taken_back() -> None:
    verdicts = [replace(HEAVY, layer=str(i), p_value=p) for i, p in enumerate([0.001, *[0.04] * 9, *[0.9] * 90])]
    first, second, *_ = control_discoveries([*verdicts, replace(HEAVY, answer="calm", p_value=None)])
    assert (first.answer, first.margin) == ("calm", -3.0)
    assert second.q_value == pytest.approx(0.4)
    kept, *_ = control_discoveries(verdicts[:2])
    assert (kept.answer, kept.runner_up, kept.q_value, kept.note) == ("heavy", "calm", 0.002, "row 3")


def test_what_has_no_p_value_passes_through() -> None:
    silent = Verdict("a", "tails", None, "", None, None, 0, Status.ALL_ZERO)
    assert control_discoveries([silent]) == [silent]
