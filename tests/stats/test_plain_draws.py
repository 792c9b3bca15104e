"""Averaging and the two views of tails on plain draws: known laws, and data without an answer."""

import numpy as np
import pytest

from gnoise.errors import UserError
from gnoise.records import Status
from gnoise.stats import compare_views, judge_averaging, stable_rvs


def _gaussian(seed: int = 0, spread: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 3.0 + rng.standard_normal((128, 400)) * np.exp(spread * rng.standard_normal(400))


def test_gaussian_entries_of_unequal_scales_are_told_from_heavy_noise() -> None:
    views = compare_views(_gaussian(spread=1.0))
    assert views.alpha_entries.high < 1.5
    assert views.alpha_draws.low > 1.8
    assert views.heterogeneity.low > 0.8
    assert views.law_draws.answer == "gaussian"
    assert judge_averaging(_gaussian(spread=1.0)).verdict.answer == "gaussian"


def test_stable_draws_stay_stable() -> None:
    draws = stable_rvs(1.3, 0.0, (128, 400), np.random.default_rng(1))
    views, averaging = compare_views(draws), judge_averaging(draws)
    assert views.alpha_draws.low < 1.3 < views.alpha_draws.high
    assert views.law_draws.answer == "stable"
    assert averaging.verdict.answer == "stable"
    assert averaging.alpha.low < 1.3 < averaging.alpha.high


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_scale_and_the_shape_of_a_draw_make_no_difference(scale: float) -> None:
    draws = _gaussian(2)
    scaled = scale * draws.reshape(128, 20, 20)
    assert judge_averaging(scaled).slope.value == pytest.approx(judge_averaging(draws).slope.value, rel=1e-9)
    assert compare_views(scaled).alpha_draws.value == pytest.approx(compare_views(draws).alpha_draws.value, rel=1e-3)


@pytest.mark.parametrize(
    ("draws", "status"),
    [
        (np.zeros((128, 40)), Status.ALL_ZERO),
        (_gaussian()[:8], Status.TOO_FEW_DRAWS),
        (np.where(_gaussian() < 3.0, np.nan, np.inf), Status.NON_FINITE),
        (np.sign(_gaussian() - 3.0), Status.FEW_DISTINCT),
    ],
    ids=["all zero", "eight draws", "not finite", "two signs"],
)
def test_draws_without_an_answer_say_why(draws: np.ndarray, status: Status) -> None:
    averaging, views = judge_averaging(draws), compare_views(draws)
    assert (averaging.verdict.answer, averaging.verdict.status, averaging.slope.status) == (None, status, status)
    assert (views.law_draws.answer, views.alpha_draws.value) == (None, None)
    assert {views.law_draws.status, views.law_entries.status} <= {status, Status.CONSTANT}


@pytest.mark.parametrize("function", [judge_averaging, compare_views])
@pytest.mark.parametrize("draws", [[1.0, 2.0], 3.0, ["a"], 1j * np.ones((20, 20))])
def test_what_is_not_one_row_a_draw_is_refused(function, draws: object) -> None:
    with pytest.raises(UserError, match=r"expected .*; try "):
        function(draws)


def test_draws_of_one_value_are_constant() -> None:
    draws = np.full((128, 40), 2.5)
    assert judge_averaging(draws).verdict.status is Status.CONSTANT
    assert compare_views(draws).law_draws.answer is None
