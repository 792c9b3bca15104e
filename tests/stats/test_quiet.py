import numpy as np
import pytest

from gnoise.records import DrawSample, NormSample, Status
from gnoise.stats.draw_norm import estimate_draw_norm
from gnoise.stats.quiet import estimate_quiet_examples
from gnoise.stats.statistic import Subject
from tests.contract.samples import LAYER


def norms(example_norms: np.ndarray) -> NormSample:
    draws, examples = example_norms.shape
    weights = np.full((draws, examples), 1 / examples)
    return NormSample(example_norms**2, (example_norms**2).mean(1) / examples, np.ones(8), weights)


def lognormal(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.3, (64, 16))


def test_quiet_examples_are_counted_and_named_with_their_loss() -> None:
    values = lognormal()
    values[3, 5], values[60, 0] = 1e-3, 1e-2
    ids = np.arange(1024).reshape(64, 16)
    losses = np.full((64, 16), 3.5)
    losses[3, 5] = 7.25
    subject = Subject(None, draws=DrawSample(ids, losses, np.full((64, 16), 1 / 16)))
    (found,) = estimate_quiet_examples(subject, norms(values))
    assert found.value is not None
    assert 2 / 1024 <= found.value < 0.012
    assert found.note.startswith("example 53 (loss 7.25), 960 (loss 3.50)")


def test_lognormal_norms_are_quiet_at_the_stated_rate() -> None:
    shares = [estimate_quiet_examples(Subject(None), norms(lognormal(seed)))[0] for seed in range(100)]
    assert np.mean([s.value or 0.0 for s in shares]) == pytest.approx(0.00135, abs=0.0006)
    assert sum((s.low or 0.0) > 0.0027 for s in shares) <= 2


def test_the_share_is_free_of_scale() -> None:
    values = lognormal()
    values[0, :5] = 1e-4
    (one,), (other,) = (estimate_quiet_examples(Subject(None), norms(scale * values)) for scale in (1.0, 1e-20))
    assert one == other


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros((64, 16)), Status.ALL_ZERO),
        (np.ones((64, 16)), Status.CONSTANT),
        (np.full((64, 16), np.nan), Status.NON_FINITE),
        (np.ones((2, 2)), Status.TOO_FEW_DRAWS),
    ],
)
def test_data_without_an_answer_give_a_status(values: np.ndarray, status: Status) -> None:
    (found,) = estimate_quiet_examples(Subject(None), norms(values))
    assert (found.value, found.status) == (None, status)


def test_nothing_is_said_of_one_layer() -> None:
    assert estimate_quiet_examples(Subject(LAYER), norms(lognormal())) == []


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
        Subject(None),
        NormSample(np.ones((sq_norms.size, 2)), sq_norms, np.ones(8), np.ones((sq_norms.size, 2))),
    )
    assert (found.value, found.status) == (None, status)
