"""Signal in rare large values is told from noise with tails, however heavy."""

import numpy as np
import pytest

from gnoise.stats.evidence.skewness import surely_skewed
from tests.stats.evidence.planted import planted

SEEDS, BLOCKS = 20, 8


def _skewed(values: np.ndarray) -> bool:
    blocks = values.astype(np.float64).reshape(BLOCKS, -1, values.shape[1])
    return surely_skewed(blocks, float(np.median(np.abs(np.diff(values, axis=0)))))


@pytest.mark.parametrize("cause", ["equal", "lognormal", "cauchy"])
def test_symmetric_noise_is_not_called_skewed(cause: str) -> None:
    assert sum(_skewed(planted(cause, seed, coords=400).values) for seed in range(SEEDS)) <= 1


def test_pure_cauchy_noise_that_all_coordinates_share_is_not_called_skewed() -> None:
    """A draw that is loud everywhere at once is the hardest case: coordinates count as one."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found.append(_skewed(rng.standard_cauchy((64, 1)) * rng.standard_normal((64, 50))))
    assert sum(found) <= 4


def test_signal_in_rare_large_values_is_found_in_any_unit() -> None:
    for seed in range(SEEDS):
        values = planted("rare", seed, coords=400).values
        assert _skewed(values)
        assert _skewed(1e-6 * values)
        assert _skewed(-values)


def test_nothing_to_go_by_is_not_skewed() -> None:
    assert not _skewed(np.zeros((64, 3)))
    assert not _skewed(
        np.random.default_rng(0).exponential(size=(16, 50))
    )  # two draws a block are as far from their median
