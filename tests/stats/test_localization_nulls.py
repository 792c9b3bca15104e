"""The nulls of localization against direct simulation, and the maths of the spectrum they rest on."""

from itertools import pairwise

import numpy as np
import pytest

from gnoise.stats.localization_nulls import (
    LEAST,
    edge_p_value,
    haar_ipr_p_value,
    max_entry_p_value,
    nulls,
    unevenness_p_value,
)
from gnoise.stats.noise_matrix import coherent_fourth
from gnoise.stats.spectrum import bulk_scale, marchenko_pastur_median, spectral_edge, tracy_widom_units

LEVELS = np.array([0.5, 0.2, 0.05])


def _rejections(p_values: list[float]) -> np.ndarray:
    return np.array([np.mean(np.array(p_values) <= level) for level in LEVELS])


def _close(p_values: list[float], slack: float = 0.0) -> None:
    """Shares below each level are the level, to sampling error."""
    error = np.sqrt(LEVELS * (1 - LEVELS) / len(p_values))
    assert (np.abs(_rejections(p_values) - LEVELS) < 3.5 * error + slack).all()


@pytest.mark.parametrize("side", [2, 5, 40, 300])
def test_haar_vectors_have_uniform_p_values(side: int) -> None:
    squares = np.square(np.random.default_rng(0).standard_normal((1500, side)))
    ratios = np.square(squares).sum(1) / np.square(squares.sum(1))
    _close([haar_ipr_p_value(float(ratio), side) for ratio in ratios], slack=0.01)


@pytest.mark.parametrize("shape", [(3, 3), (7, 20), (40, 50)])
def test_gaussian_matrices_have_uniform_edge_and_safe_entry_p_values(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).standard_normal((800, *shape))
    sigmas = np.linalg.svd(noise, compute_uv=False)
    ratios = sigmas[:, 0] / [bulk_scale(s, *shape) * spectral_edge(*shape) for s in sigmas]
    _close([edge_p_value(float(ratio), *shape) for ratio in ratios], slack=0.015)
    largest = np.abs(noise).max((1, 2)) / sigmas[:, 0]
    rejected = _rejections([max_entry_p_value(float(ratio), *shape) for ratio in largest])
    assert rejected[-1] < 0.08


def test_p_values_fall_and_stay_above_the_floor() -> None:
    for p_value in (
        lambda x: haar_ipr_p_value(x, 64),
        lambda x: max_entry_p_value(x, 64, 100),
        lambda x: edge_p_value(0.9 + x, 64, 100),
        lambda x: unevenness_p_value(1.0 + x, 0.03),
    ):
        values = [p_value(x) for x in np.linspace(1 / 64, 1.0, 60)]
        assert all(a >= b for a, b in pairwise(values))
        assert values[-1] >= LEAST
        assert values[-1] < 1e-4
    assert edge_p_value(np.inf, 64, 100) == LEAST


def test_a_variance_ratio_of_gaussians_has_uniform_p_values() -> None:
    ratios = np.random.default_rng(2).standard_normal((2000, 30)).var(axis=1, ddof=1)
    _close([unevenness_p_value(float(ratio), 2.0 / 29.0) for ratio in ratios])


def test_the_median_singular_value_is_that_of_a_large_matrix() -> None:
    noise = np.random.default_rng(3).standard_normal((200, 300))
    sigmas = np.linalg.svd(noise, compute_uv=False)
    assert np.median(sigmas) == pytest.approx(marchenko_pastur_median(200, 300), rel=0.02)
    assert marchenko_pastur_median(300, 200) == marchenko_pastur_median(200, 300)
    assert bulk_scale(2.5 * sigmas, 200, 300) == pytest.approx(2.5, rel=0.02)


def test_a_few_outliers_do_not_move_the_bulk_and_low_rank_has_none() -> None:
    sigmas = np.linalg.svd(np.random.default_rng(4).standard_normal((60, 90)), compute_uv=False)
    louder = np.where(np.arange(60) < 3, 100.0, sigmas)
    assert bulk_scale(louder, 60, 90) == bulk_scale(sigmas, 60, 90)
    assert bulk_scale(np.where(np.arange(60) < 29, 1.0, 1e-9), 60, 90) == 0.0


def test_tracy_widom_units_hold_large_singular_values() -> None:
    centre, scale = tracy_widom_units(60, 90)
    noise = np.random.default_rng(5).standard_normal((300, 60, 90))
    standard = (np.square(np.linalg.norm(noise, 2, axis=(1, 2))) - centre) / scale
    assert standard.mean() == pytest.approx(-1.21, abs=0.25)
    assert standard.std() == pytest.approx(1.27, abs=0.2)


def test_the_table_is_complete_and_ordered() -> None:
    table = nulls()
    assert (np.diff(table.levels) < 0).all()
    assert (np.diff(table.ipr, axis=1) >= 0).all()
    assert (np.diff(table.edge, axis=2) >= 0).all()
    assert table.edge.shape == (table.edge_sides.size, table.edge_aspects.size, table.levels.size)


def test_coherence_is_zero_on_average_for_independent_signs_and_that_of_low_rank() -> None:
    rng = np.random.default_rng(6)
    sizes = np.exp(rng.standard_normal((20, 30)))
    found = np.array([coherent_fourth(sizes * rng.choice([-1.0, 1.0], size=sizes.shape)) for _ in range(2000)])
    assert abs(found.mean()) < 3.5 * found.std() / np.sqrt(found.size)
    spread = rng.standard_normal((200, 1)) @ rng.standard_normal((1, 300))
    assert coherent_fourth(spread) == pytest.approx(np.square(spread).sum() ** 2, rel=0.05)
