"""Norm spikes: laws with a known largest value, rates with a known share, and the examples by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gnoise.records import DrawSample, Estimate, Kind, Layer, NormSample, Status
from gnoise.stats.spikes import (
    CLIP_RATE,
    STATISTIC,
    binomial_interval,
    coefficient_of_variation,
    estimate_clip_rate,
    estimate_spikes,
    heavy_tail_index,
    largest_over_median,
    pareto_reach,
)
from gnoise.stats.statistic import Subject

DRAWS, EXAMPLES = 64, 8
MODEL = Subject(layer=None)
LAYER = Subject(layer=Layer("w", Kind.MLP, (3, 5)))

Law = Callable[[np.random.Generator, int], np.ndarray]
LAWS: dict[str, Law] = {
    "lognormal 0.1": lambda rng, n: np.exp(0.1 * rng.standard_normal(n)),
    "lognormal 1": lambda rng, n: np.exp(rng.standard_normal(n)),
    "chi 10": lambda rng, n: np.sqrt(rng.chisquare(10, n)),
    "pareto 2": lambda rng, n: rng.random(n) ** -0.5,
    "norms of t(2.5)": lambda rng, n: np.sqrt(rng.chisquare(10, n) / rng.chisquare(2.5, n)),
}


def _sample(draw_norms: np.ndarray, example_norms: np.ndarray | None = None) -> NormSample:
    draws = draw_norms.size
    if example_norms is None:
        example_norms = np.ones((draws, EXAMPLES)) + np.arange(EXAMPLES)
    return NormSample(
        example_sq_norms=np.square(example_norms),
        draw_sq_norms=np.square(draw_norms),
        block_sq_norms=np.ones(8),
        example_weights=np.full(example_norms.shape, 1.0 / EXAMPLES),
    )


def _norms(seed: int = 0, n: int = DRAWS) -> np.ndarray:
    return LAWS["lognormal 0.1"](np.random.default_rng(seed), n)


def _estimate(sample: NormSample, subject: Subject = MODEL) -> dict[str, Estimate]:
    return {found.quantity: found for found in estimate_spikes(subject, sample)}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [32, 64, 512])
def test_intervals_hold_what_half_of_all_maxima_exceed(law: str, n: int) -> None:
    rng = np.random.default_rng(1)
    population = np.sort(LAWS[law](rng, 1_000_000))
    truth = np.quantile(population, 2.0 ** (-1.0 / n)) / np.median(population)
    runs, covered, above = 400, 0, 0
    for _ in range(runs):
        value, low, high = largest_over_median(LAWS[law](rng, n))
        covered += low <= truth and (high is None or truth <= high)
        above += value > truth
    assert covered / runs > 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / runs)
    assert abs(above / runs - 0.5) < 4.0 * np.sqrt(0.25 / runs)


@pytest.mark.parametrize(("n", "tail"), [(16, 4), (64, 8), (512, 8)])
def test_the_pareto_end_is_exceeded_at_its_level(n: int, tail: int) -> None:
    rng = np.random.default_rng(2)
    beta, gamma = rng.beta(tail + 1, n - tail, 200_000), rng.gamma(tail, size=200_000) / tail
    pivot = (np.log(beta) - np.log(-np.expm1(-np.log(2.0) / n))) / gamma
    assert np.mean(pivot <= pareto_reach(n, tail)) == pytest.approx(0.975, abs=0.002)


def test_a_draw_the_others_do_not_predict_has_no_upper_end() -> None:
    norms = _norms()
    calm = _estimate(_sample(norms))["spike_ratio"]
    assert calm.status is Status.OK
    assert calm.value == pytest.approx(norms.max() / np.median(norms))
    norms[20] = 30.0
    spiked = _estimate(_sample(norms))["spike_ratio"]
    assert spiked.status is Status.ONE_SIDED
    assert spiked.high is None
    assert spiked.low is not None
    assert spiked.value == pytest.approx(30.0 / np.median(norms))


@pytest.mark.parametrize(("log_sd", "least"), [(0.1, 0.91), (0.3, 0.91), (0.5, 0.86)])
def test_variation_intervals_cover(log_sd: float, least: float) -> None:
    rng = np.random.default_rng(3)
    truth = np.sqrt(np.expm1(log_sd**2))
    z, covered = [], []
    for norms in np.exp(log_sd * rng.standard_normal((400, DRAWS))):
        found = coefficient_of_variation(norms)
        z.append((found.value - truth) / found.stderr)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) > least
    # Large errors come with large standard errors, so z leans to the left as the law does to the right.
    assert abs(np.median(z)) < 0.5
    assert 0.8 < np.std(z) < 1.8


def test_variation_is_the_textbook_one_and_its_error_the_jackknife() -> None:
    norms = _norms(4)
    found = coefficient_of_variation(norms)
    assert found.value == pytest.approx(norms.std(ddof=1) / norms.mean())
    left_out = np.array(
        [np.log(part.std(ddof=1) / part.mean()) for part in (np.delete(norms, i) for i in range(DRAWS))]
    )
    stderr = np.sqrt((DRAWS - 1) / DRAWS * np.square(left_out - left_out.mean()).sum())
    assert found.stderr == pytest.approx(found.value * stderr)


def test_one_spike_among_equal_norms_keeps_the_interval_finite() -> None:
    norms = np.ones(DRAWS)
    norms[0] = 1e15
    found = coefficient_of_variation(norms)
    assert found.value == pytest.approx(np.sqrt(DRAWS))
    assert 0.0 < found.low < found.value < found.high < np.inf


@pytest.mark.parametrize(
    ("law", "least", "most"),
    [
        ("chi 10", 0.0, 0.01),
        ("lognormal 0.1", 0.0, 0.01),
        ("lognormal 1", 0.8, 1.0),
        ("norms of t(2.5)", 0.75, 1.0),
    ],
)
def test_the_tail_gate_opens_for_heavy_tails_only(law: str, least: float, most: float) -> None:
    rng = np.random.default_rng(5)
    found = [heavy_tail_index(np.square(LAWS[law](rng, 512))) for _ in range(200)]
    assert least <= np.mean([index is not None for index in found]) <= most
    assert all(index is None or index > 0.55 for index in found)


@pytest.mark.parametrize("degrees", [8.0])
def test_the_tail_gate_lets_moderate_tails_through(degrees: float) -> None:
    rng = np.random.default_rng(6)
    heavy = [heavy_tail_index(rng.chisquare(10, 512) / rng.chisquare(degrees, 512)) is not None for _ in range(300)]
    assert np.mean(heavy) <= 0.05


def test_the_tail_gate_needs_values() -> None:
    heavy = np.random.default_rng(7).random(1000) ** -2.0
    assert heavy_tail_index(heavy) is not None
    assert heavy_tail_index(heavy[:47]) is None
    assert heavy_tail_index(np.concatenate([heavy[:47], np.zeros(500)])) is None
    assert heavy_tail_index(np.ones(1000)) is None


def test_heavy_tailed_draw_norms_are_said_to_be() -> None:
    norms = np.random.default_rng(8).random(256) ** -1.0
    found = _estimate(_sample(norms))["norm_cv"]
    assert found.status is Status.HEAVY_TAILED
    assert found.value is not None
    assert "extreme-value index" in found.note


def test_the_loudest_examples_are_named_with_their_losses_once() -> None:
    rng = np.random.default_rng(9)
    norms = 1.0 + rng.random((DRAWS, EXAMPLES))
    ids = rng.permutation(10_000)[: norms.size].reshape(norms.shape)
    losses = np.full(norms.shape, 2.5)
    norms[3, 2], ids[3, 2], losses[3, 2] = 90.0, 1377, 9.81
    norms[40, 7], ids[40, 7], losses[40, 7] = 50.0, 5021, 7.0
    norms[41, 0], ids[41, 0] = 40.0, 1377
    draws = DrawSample(ids, losses, np.full(norms.shape, 0.125))
    found = _estimate(_sample(_norms(), norms), replace(MODEL, draws=draws))["example_spike_ratio"]
    assert found.note.startswith("example 1377 (loss 9.81), 5021 (loss 7.00), ")
    assert found.note.count("1377") == 1
    assert found.note.count("loss") == 5
    assert found.value == pytest.approx(90.0 / np.median(norms))
    assert found.n == norms.size


def test_without_draws_no_example_is_named() -> None:
    rng = np.random.default_rng(10)
    found = _estimate(_sample(_norms(), 1.0 + rng.random((DRAWS, EXAMPLES))))["example_spike_ratio"]
    assert found.note == ""
    assert found.value is not None


def test_draws_that_never_reach_the_tensor_do_not_count() -> None:
    norms = _norms(11)
    norms[:40] = 0.0
    found = _estimate(_sample(norms))
    assert found["spike_ratio"].n == 24
    assert found["spike_ratio"].value == pytest.approx(norms.max() / np.median(norms[40:]))
    assert found["norm_cv"].n == DRAWS
    assert found["norm_cv"].value == pytest.approx(norms.std(ddof=1) / norms.mean())
    norms[:50] = 0.0
    assert _estimate(_sample(norms))["spike_ratio"].status is Status.TOO_FEW_DRAWS


@pytest.mark.parametrize(
    ("norms", "status"),
    [
        (np.zeros(DRAWS), Status.ALL_ZERO),
        (np.full(DRAWS, np.nan), Status.NON_FINITE),
        (np.append(_norms(), np.inf), Status.NON_FINITE),
        (np.ones(DRAWS), Status.CONSTANT),
        (_norms()[:15], Status.TOO_FEW_DRAWS),
        (np.empty(0), Status.TOO_FEW_DRAWS),
    ],
)
def test_data_without_an_answer_give_a_status(norms: np.ndarray, status: Status) -> None:
    found = _estimate(_sample(norms))
    for quantity in ("spike_ratio", "norm_cv"):
        assert found[quantity].status is status
        assert found[quantity].value is found[quantity].low is found[quantity].high is None


@given(st.integers(0, 2**32 - 1), st.floats(-30.0, 30.0))
def test_units_and_order_do_not_matter(seed: int, log_scale: float) -> None:
    rng = np.random.default_rng(seed)
    norms, examples = np.exp(rng.standard_normal(32)), np.exp(rng.standard_normal((32, 4)))
    order, scale = rng.permutation(32), 10.0**log_scale
    found = _estimate(_sample(norms, examples))
    again = _estimate(_sample(scale * norms[order], scale * examples[order]))
    for quantity in STATISTIC.quantities:
        assert again[quantity].status is found[quantity].status
        for end in ("value", "low", "high", "stderr"):
            before, after = getattr(found[quantity], end), getattr(again[quantity], end)
            assert after == (None if before is None else pytest.approx(before, rel=1e-6))


@pytest.mark.parametrize(("fired", "draws"), [(0, 64), (3, 64), (64, 64), (1, 1), (0, 1), (20, 33)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(fired: int, draws: int) -> None:
    exact = stats.binomtest(fired, draws).proportion_ci(0.95, method="exact")
    assert binomial_interval(fired, draws) == pytest.approx((exact.low, exact.high))


def _clipped(threshold: object, norms: np.ndarray, subject: Subject = MODEL) -> list[Estimate]:
    return estimate_clip_rate(replace(subject, optimizer={"clip_global_norm": threshold}), _sample(norms))


def test_the_clip_rate_counts_draws_above_the_threshold() -> None:
    norms = np.linspace(0.5, 1.5, DRAWS)
    (found,) = _clipped(1.25, norms)
    assert found.status is Status.OK
    assert found.layer is None
    assert found.value == np.mean(norms > 1.25) == 0.25
    assert (found.low, found.high) == binomial_interval(16, DRAWS)
    assert found.n == DRAWS
    assert found.note == "threshold 1.25, 8 examples a draw"


@pytest.mark.parametrize(("threshold", "rate"), [(10, 0.0), (0.1, 1.0)])
def test_clip_rates_at_either_end_keep_an_interval(threshold: float, rate: float) -> None:
    (found,) = _clipped(threshold, np.linspace(0.5, 1.5, DRAWS))
    assert found.value == rate
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.05


@pytest.mark.parametrize("threshold", [None, "1.0", True, 0.0, -1.0, float("nan"), float("inf"), [1.0]])
def test_without_a_threshold_there_is_no_clip_rate(threshold: object) -> None:
    assert _clipped(threshold, _norms()) == []
    assert estimate_clip_rate(MODEL, _sample(_norms())) == []


def test_a_layer_has_no_global_clip_rate() -> None:
    assert _clipped(1.0, _norms(), LAYER) == []


@pytest.mark.parametrize(
    ("norms", "status"),
    [
        (np.zeros(DRAWS), Status.ALL_ZERO),
        (np.full(DRAWS, np.nan), Status.NON_FINITE),
        (np.empty(0), Status.TOO_FEW_DRAWS),
    ],
)
def test_clip_rates_without_an_answer_give_a_status(norms: np.ndarray, status: Status) -> None:
    (found,) = _clipped(1.0, norms)
    assert found.status is status
    assert found.value is None


def test_both_statistics_are_there_to_be_listed() -> None:
    assert CLIP_RATE.quantities == ("clip_rate",)
    assert CLIP_RATE.whole_model
    assert STATISTIC.whole_model
