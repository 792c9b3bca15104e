"""Evidence from pairs of draws along a path: the formula where weights stand still, the truth where they do not."""

import numpy as np
import pytest

from gnoise.records import CoordinateSample, Status
from gnoise.stats.evidence import (
    ARMS,
    Arm,
    Progress,
    Simulated,
    adam,
    batch_gains,
    measure_along,
    measure_progress,
    setting_gains,
    sgd,
)
from tests.stats.evidence.planted import planted

SIGNAL, NOISE, COORDS = 0.3, 0.5, 2000


def _moving(rng: np.random.Generator, *, pairs: int, turns: int) -> CoordinateSample:
    """Pairs of draws whose gradient is turned about after so many of them."""
    gradient = SIGNAL * rng.standard_normal(COORDS)
    signs = np.where(np.arange(pairs) // turns % 2 == 0, 1.0, -1.0)
    values = np.repeat(signs, 2)[:, None] * gradient + NOISE * rng.standard_normal((2 * pairs, COORDS))
    sq_norms = np.square(values).sum(axis=1)
    return CoordinateSample(np.arange(COORDS), values.astype(np.float32), sq_norms, sq_norms)


def _measured(sample: CoordinateSample, optimizer: Simulated, arms: tuple[Arm, ...] = ()) -> Progress:
    found = measure_along(sample, optimizer, arms)
    assert isinstance(found, Progress), found
    return found


def test_without_momentum_progress_is_the_signal_however_it_turns() -> None:
    """n = ‖G‖², d = ‖G‖² + tr Σ and s = ‖G‖² at every step of plain SGD; z-scores over repeats are standard normal."""
    rng, truth = np.random.default_rng(0), COORDS * SIGNAL**2
    numbers: list[tuple[float, float, float]] = []
    for turns in [1, 3, 100] * 8:
        found = _measured(_moving(rng, pairs=40, turns=turns), sgd())
        numbers.append((float(found.along[0].mean()), float(found.steady[0]), float(found.size[0].mean())))
    along, steady, size = np.array(numbers).T
    for values, true in ((along, truth), (steady, truth), (size, truth + COORDS * NOISE**2)):
        assert abs(values.mean() - true) < 3.0 * values.std(ddof=1) / np.sqrt(len(values)) + 1e-3 * true


def test_a_gradient_that_turns_is_seen_only_along_the_path() -> None:
    sample = _moving(np.random.default_rng(1), pairs=80, turns=1)
    frozen, along = measure_progress(sample, sgd(), ()), _measured(sample, sgd())
    assert isinstance(frozen, Progress)
    assert abs(frozen.along[0].mean()) < 0.1 * COORDS * SIGNAL**2 < along.along[0].mean()


def test_momentum_that_lags_behind_the_gradient_buys_less() -> None:
    rng = np.random.default_rng(2)
    steady, turning = (_measured(_moving(rng, pairs=80, turns=turns), sgd(0.9)) for turns in (1000, 10))
    assert turning.along[0].mean() < 0.6 * steady.along[0].mean()


def test_twice_the_batch_is_read_off_what_both_draws_share() -> None:
    found = batch_gains(_measured(_moving(np.random.default_rng(2), pairs=64, turns=1000), sgd()))
    assert found[0].gain is not None
    assert found[0].gain.low < (SIGNAL**2 + NOISE**2) / (SIGNAL**2 + NOISE**2 / 2.0) < found[0].gain.high


@pytest.mark.parametrize(("cause", "low", "high"), [("equal", 0.9, 1.1), ("loud", 1.5, 20.0)])
def test_remedies_are_told_apart_where_weights_stand_still(cause: str, low: float, high: float) -> None:
    gains = setting_gains(_measured(planted(cause, 0, draws=128), adam((0.9, 0.95)), ARMS))
    best = max(each.gain.value for each in gains if each.gain is not None and each.remedy == "clip_norm")
    assert low < best < high


def test_what_does_nothing_gains_nothing() -> None:
    idle = Arm("clip_norm", "never", lambda g: g.values)
    (found,) = setting_gains(_measured(planted("equal", 1), adam(), (idle,)))
    assert found.gain is not None
    assert found.gain.value == found.gain.low == found.gain.high == 1.0


def test_too_few_pairs_have_a_status() -> None:
    assert measure_along(planted("equal", 2, draws=16), sgd()) is Status.TOO_FEW_DRAWS
