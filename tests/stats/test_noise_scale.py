"""The noise scale on gradients whose mean and covariance are known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.noise_scale import (
    STATISTIC,
    block_moments,
    estimate_noise_scale,
    grad_sq_norm_and_trace_cov,
    weighted_grad_sq_norm_and_trace_cov,
)
from gnoise.stats.statistic import Subject

DRAWS, EXAMPLES, BLOCKS = 64, 8, 8
MODEL = Subject(layer=None)


def _sample(gradients: np.ndarray, weights: np.ndarray | None = None, blocks: int = BLOCKS) -> NormSample:
    """Reduce (draws, examples, entries) to squared norms."""
    draws, examples = gradients.shape[:2]
    weights = np.full((draws, examples), 1.0 / examples) if weights is None else weights
    means = (weights[:, :, None] * gradients).sum(1)
    of_blocks = means.reshape(blocks, draws // blocks, -1).mean(1)
    return NormSample(
        example_sq_norms=np.square(gradients).sum(2),
        draw_sq_norms=np.square(means).sum(1),
        block_sq_norms=np.square(of_blocks).sum(1),
        example_weights=weights,
    )


def _gradients(
    rng: np.random.Generator, b_simple: float, *, decay: float = 1.0, dim: int = 10, draws: int = DRAWS
) -> tuple[np.ndarray, float, float]:
    """Gaussian per-example gradients with eigenvalues j^-decay; also true |G|² and tr Σ."""
    eigenvalues = np.arange(1.0, dim + 1.0) ** -decay
    mean = rng.standard_normal(dim)
    mean *= np.sqrt(eigenvalues.sum() / b_simple) / np.linalg.norm(mean)
    noise = rng.standard_normal((draws, EXAMPLES, dim)) * np.sqrt(eigenvalues)
    return mean + noise, float(mean @ mean), float(eigenvalues.sum())


def _by_name(estimates: list[Estimate]) -> dict[str, Estimate]:
    return {estimate.quantity: estimate for estimate in estimates}


def _estimate(gradients: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Estimate]:
    return _by_name(estimate_noise_scale(MODEL, _sample(gradients, weights)))


def _covers(estimate: Estimate, truth: float) -> bool:
    return (estimate.low is None or estimate.low <= truth) and (estimate.high is None or truth <= estimate.high)


def test_two_sizes_give_back_what_their_expectations_were_made_of() -> None:
    signal, trace = 2.0, 30.0
    found = grad_sq_norm_and_trace_cov(signal + trace / 4, signal + trace / 64, 4, 64)
    assert found == pytest.approx((signal, trace))


def test_equal_weights_are_the_published_form() -> None:
    rng = np.random.default_rng(0)
    example_sq, large_sq = rng.uniform(5.0, 9.0, (6, 16)), rng.uniform(1.0, 2.0, 6)
    weighted = weighted_grad_sq_norm_and_trace_cov(large_sq, example_sq, np.full((6, 16), 1.0 / 16))
    published = grad_sq_norm_and_trace_cov(example_sq.mean(1), large_sq, 1, 16)
    for ours, theirs in zip(weighted, published, strict=True):
        assert ours == pytest.approx(theirs)


def test_block_moments_are_sums_over_pairs_of_different_examples() -> None:
    rng = np.random.default_rng(1)
    gradients = 0.3 + rng.standard_normal((8, 3, 5))
    weights = rng.dirichlet(np.ones(3), 8)
    found = block_moments(_sample(gradients, weights, blocks=2))
    for block in range(2):
        part = slice(4 * block, 4 * block + 4)
        g, w = gradients[part].reshape(12, 5), weights[part].ravel() / 4
        pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
        total = sum(w[i] * w[j] for i, j in pairs)
        signal = sum(w[i] * w[j] * (g[i] @ g[j]) for i, j in pairs) / total
        trace = sum(w[i] * w[j] * np.square(g[i] - g[j]).sum() for i, j in pairs) / (2 * total)
        assert found.grad_sq_norm[block] == pytest.approx(signal)
        assert found.trace_cov[block] == pytest.approx(trace)


def test_unequal_weights_leave_no_bias() -> None:
    rng = np.random.default_rng(2)
    signals, traces = [], []
    for _ in range(80):
        gradients, signal, trace = _gradients(rng, b_simple=20.0)
        weights = rng.dirichlet(np.full(EXAMPLES, 2.0), DRAWS)
        moments = block_moments(_sample(gradients, weights))
        signals.append(moments.grad_sq_norm.mean() / signal - 1.0)
        traces.append(moments.trace_cov.mean() / trace - 1.0)
    for errors in (np.array(signals), np.array(traces)):
        assert abs(errors.mean()) < 3.5 * errors.std() / np.sqrt(errors.size)


def test_the_floor_is_what_pure_noise_makes_of_a_block() -> None:
    rng = np.random.default_rng(3)
    moments = [block_moments(_sample(_gradients(rng, 1e9)[0])) for _ in range(200)]
    floor = np.mean([found.variance_floor for found in moments])
    variance = np.mean([found.grad_sq_norm.var(ddof=1) for found in moments])
    known_better = (1.9983 / 2.3646) ** 2
    assert floor == pytest.approx(known_better * variance, rel=0.15)


def test_the_floor_is_far_below_what_signal_makes_of_a_block() -> None:
    moments = block_moments(_sample(_gradients(np.random.default_rng(4), 1.0)[0]))
    assert moments.variance_floor < 0.2 * moments.grad_sq_norm.var(ddof=1)


@pytest.mark.parametrize("decay", [0.0, 2.0])
@pytest.mark.parametrize("b_over_draw", [0.1, 3.0, 20.0, 100.0])
def test_intervals_cover(decay: float, b_over_draw: float) -> None:
    rng = np.random.default_rng(5)
    runs, covered = 120, 0
    for _ in range(runs):
        gradients, signal, trace = _gradients(rng, b_over_draw * EXAMPLES, decay=decay)
        covered += _covers(_estimate(gradients)["b_simple"], trace / signal)
    assert covered / runs > 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / runs)


def test_intervals_cover_in_many_dimensions() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(30):
        gradients, signal, trace = _gradients(rng, 80.0, dim=1000)
        covered += _covers(_estimate(gradients)["b_simple"], trace / signal)
    assert covered >= 25


@pytest.mark.parametrize("quantity", ["grad_sq_norm", "trace_cov"])
def test_standard_errors_are_the_size_of_the_errors(quantity: str) -> None:
    rng = np.random.default_rng(7)
    z, covered = [], []
    for _ in range(150):
        gradients, signal, trace = _gradients(rng, b_simple=8.0)
        truth = signal if quantity == "grad_sq_norm" else trace
        found = _estimate(gradients)[quantity]
        assert found.value is not None
        assert found.stderr is not None
        z.append((found.value - truth) / found.stderr)
        covered.append(_covers(found, truth))
    # Student's t on 7 degrees of freedom has a standard deviation of 1.18.
    assert abs(np.mean(z)) < 0.3
    assert 1.0 < np.std(z) < 1.45
    assert np.mean(covered) > 0.89


def test_a_plain_case_is_ok_and_names_its_blocks() -> None:
    gradients, signal, trace = _gradients(np.random.default_rng(8), b_simple=8.0)
    found = _estimate(gradients)
    assert [estimate.status for estimate in found.values()] == [Status.OK] * 3
    assert {estimate.n for estimate in found.values()} == {BLOCKS}
    assert found["b_simple"].value == pytest.approx(trace / signal, rel=0.3)


def test_more_noise_than_the_draws_can_average_leaves_only_a_lower_end() -> None:
    kinds = {Status.ONE_SIDED: 0, Status.NO_SIGNAL: 0}
    rng = np.random.default_rng(9)
    for _ in range(40):
        gradients, _, _ = _gradients(rng, b_simple=20000.0)
        found = _estimate(gradients)
        scale = found["b_simple"]
        if scale.status is Status.OK:
            continue
        kinds[scale.status] += 1
        assert scale.high is None
        assert (scale.value is None) == (scale.status is Status.NO_SIGNAL)
        assert (found["grad_sq_norm"].value is None) == (scale.status is Status.NO_SIGNAL)
        assert found["trace_cov"].status is Status.OK
        assert scale.low is None or scale.low > 0.0
    assert min(kinds.values()) >= 8


def test_without_signal_the_lower_end_is_still_given() -> None:
    rng = np.random.default_rng(10)
    found = [_estimate(_gradients(rng, 1e9)[0])["b_simple"] for _ in range(40)]
    silent = [estimate for estimate in found if estimate.status is Status.NO_SIGNAL]
    assert len(silent) > 10
    assert sum(estimate.low is not None and estimate.low > 10.0 for estimate in silent) > 0.7 * len(silent)


def test_heavy_tailed_examples_are_said_to_be() -> None:
    rng = np.random.default_rng(11)
    noise, _, _ = _gradients(rng, 1e9)
    heavy = 0.5 + noise * np.sqrt(2.5 / rng.chisquare(2.5, (DRAWS, EXAMPLES, 1)))
    found = _estimate(heavy)
    assert found["trace_cov"].status is found["b_simple"].status is Status.HEAVY_TAILED
    assert found["grad_sq_norm"].status is Status.OK
    assert found["b_simple"].value is not None
    assert found["b_simple"].low is not None
    assert "extreme-value index" in found["b_simple"].note


@given(st.integers(0, 2**32 - 1), st.floats(-12.0, 12.0))
def test_units_change_norms_and_not_the_noise_scale(seed: int, log_scale: float) -> None:
    rng = np.random.default_rng(seed)
    gradients, _, _ = _gradients(rng, b_simple=30.0, dim=3)
    scale = 10.0**log_scale
    found, scaled = _estimate(gradients), _estimate(scale * gradients)
    factors = {"grad_sq_norm": scale**2, "trace_cov": scale**2, "b_simple": 1.0}
    for quantity, factor in factors.items():
        assert scaled[quantity].status is found[quantity].status
        for end in ("value", "low", "high"):
            before, after = getattr(found[quantity], end), getattr(scaled[quantity], end)
            assert after == (None if before is None else pytest.approx(factor * before, rel=1e-6))


@given(st.integers(0, 2**32 - 1))
def test_order_of_blocks_and_within_blocks_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gradients, _, _ = _gradients(rng, b_simple=30.0, dim=3)
    shuffled = gradients.reshape(BLOCKS, -1, EXAMPLES, 3)[rng.permutation(BLOCKS)]
    shuffled = shuffled[:, rng.permutation(DRAWS // BLOCKS)][:, :, rng.permutation(EXAMPLES)]
    found, again = _estimate(gradients), _estimate(shuffled.reshape(DRAWS, EXAMPLES, 3))
    for quantity in STATISTIC.quantities:
        assert again[quantity].status is found[quantity].status
        assert again[quantity].value is None or again[quantity].value == pytest.approx(found[quantity].value)


@pytest.mark.parametrize(
    ("gradients", "status"),
    [
        (np.zeros((16, 4, 5)), Status.ALL_ZERO),
        (np.full((16, 4, 5), np.nan), Status.NON_FINITE),
        (np.full((16, 4, 5), np.inf), Status.NON_FINITE),
        (np.ones((8, 4, 5)), Status.TOO_FEW_DRAWS),
    ],
)
def test_data_without_an_answer_give_a_status(gradients: np.ndarray, status: Status) -> None:
    with np.errstate(all="ignore"):
        sample = _sample(gradients)
    for estimate in estimate_noise_scale(MODEL, sample):
        assert estimate.status is status
        assert estimate.value is estimate.low is estimate.high is estimate.stderr is None


def test_one_block_is_too_few() -> None:
    gradients, _, _ = _gradients(np.random.default_rng(12), 8.0)
    sample = replace(_sample(gradients), block_sq_norms=np.ones(1))
    assert {estimate.status for estimate in estimate_noise_scale(MODEL, sample)} == {Status.TOO_FEW_DRAWS}


def test_the_same_gradient_every_time_has_a_size_and_no_noise_scale() -> None:
    found = _estimate(np.broadcast_to(np.arange(1.0, 6.0), (16, 4, 5)))
    assert found["grad_sq_norm"].value == pytest.approx(55.0)
    assert found["trace_cov"].status is found["b_simple"].status is Status.CONSTANT
    assert found["trace_cov"].value is found["b_simple"].value is None


def test_one_example_a_draw_is_enough() -> None:
    gradients, signal, trace = _gradients(np.random.default_rng(13), b_simple=2.0, draws=512)
    found = _estimate(gradients[:, :1])
    assert found["b_simple"].status is Status.OK
    assert found["b_simple"].value == pytest.approx(trace / signal, rel=0.5)
