import numpy as np
import pytest

from gnoise.records import DrawSample, Estimate, NormSample, Status
from gnoise.stats.draw_norm import estimate_draw_norm
from gnoise.stats.outliers import estimate_outliers
from gnoise.stats.statistic import Subject
from tests.contract.samples import LAYER

SHAPE = (64, 16)


def norms(example_norms: np.ndarray) -> NormSample:
    draws, examples = example_norms.shape
    weights = np.full((draws, examples), 1 / examples)
    return NormSample(example_norms**2, (example_norms**2).mean(1) / examples, np.ones(8), weights)


def model(losses: np.ndarray | None = None) -> Subject:
    ids = np.arange(1024).reshape(SHAPE)
    return Subject(
        None, draws=DrawSample(ids, np.full(SHAPE, 3.5) if losses is None else losses, np.full(SHAPE, 1 / 16))
    )


def lognormal(seed: int = 0, spread: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, spread, SHAPE)


def shares(values: np.ndarray, losses: np.ndarray | None = None) -> dict[str, Estimate]:
    return {e.quantity: e for e in estimate_outliers(model(losses), norms(values))}


def test_quiet_examples_of_high_loss_are_counted_and_named() -> None:
    values, losses = lognormal(), np.full(SHAPE, 3.5)
    values[3, 5], values[60, 0], values[61, 0] = 1e-3, 1e-2, 1e-2
    losses[3, 5], losses[60, 0], losses[61, 0] = 7.25, 5.5, 0.01
    found = shares(values, losses)["quiet_example_share"]
    assert found.value is not None
    assert 2 / 1024 <= found.value < 0.012
    assert found.note.startswith("example 53 (loss 7.25), 960 (loss 5.50)")
    assert "976" not in found.note  # small loss: an example known already


def test_loud_examples_are_counted_and_named() -> None:
    values = lognormal()
    values[7, 1], values[9, 9] = 90.0, 40.0
    found = shares(values)["loud_example_share"]
    assert found.value == 2 / 1024
    assert found.note.startswith("example 113 (loss 3.50), 153 (loss 3.50)")


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 2.0])
def test_norms_that_are_merely_spread_are_neither(spread: float) -> None:
    rng = np.random.default_rng(5)
    found = [shares(lognormal(seed, spread), rng.random(SHAPE)) for seed in range(60)]
    assert np.mean([f["quiet_example_share"].value or 0.0 for f in found]) == pytest.approx(0.00067, abs=0.0004)
    assert sum((f["quiet_example_share"].low or 0.0) > 0.00135 for f in found) <= 1
    assert all((f["loud_example_share"].value or 0.0) <= 1 / 1024 for f in found)


@pytest.mark.parametrize("dimensions", [2, 4, 8])
def test_regression_residuals_are_neither(dimensions: int) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        residuals = rng.standard_normal(SHAPE)
        values = np.abs(residuals) * np.sqrt(rng.chisquare(dimensions, SHAPE))
        found = shares(values, residuals**2)
        assert (found["quiet_example_share"].low or 0.0) <= 0.00135
        assert (found["loud_example_share"].low or 0.0) < 0.001


def test_the_shares_are_free_of_scale() -> None:
    values = lognormal()
    values[0, :5] = 1e-4
    assert shares(values) == shares(1e-20 * values)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros(SHAPE), Status.ALL_ZERO),
        (np.ones(SHAPE), Status.CONSTANT),
        (np.full(SHAPE, np.nan), Status.NON_FINITE),
        (np.ones((2, 2)), Status.TOO_FEW_DRAWS),
    ],
)
def test_data_without_an_answer_give_a_status(values: np.ndarray, status: Status) -> None:
    assert all((e.value, e.status) == (None, status) for e in shares(values).values())


def test_nothing_is_said_of_one_layer() -> None:
    assert estimate_outliers(Subject(LAYER, draws=model().draws), norms(lognormal())) == []


def test_the_median_draw_norm_is_covered() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        sample = NormSample(np.ones((64, 2)), rng.lognormal(1.0, 0.8, 64) ** 2, np.ones(8), np.ones((64, 2)))
        (found,) = estimate_draw_norm(Subject(None), sample)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= np.e <= found.high
    assert 0.93 < hits / 400 <= 0.985


@pytest.mark.parametrize(
    ("sq_norms", "status"),
    [
        (np.zeros(64), Status.ALL_ZERO),
        (np.full(64, np.inf), Status.NON_FINITE),
        (np.ones(5), Status.TOO_FEW_DRAWS),
    ],
)
def test_draw_norms_without_an_answer(sq_norms: np.ndarray, status: Status) -> None:
    (found,) = estimate_draw_norm(
        Subject(None), NormSample(np.ones((sq_norms.size, 2)), sq_norms, np.ones(8), np.ones((sq_norms.size, 2)))
    )
    assert (found.value, found.status) == (None, status)
