"""A gradient in parts: means of consecutive draws, and a median of these whose scatter over parts is its error."""

import numpy as np
import pytest
import torch

from gnoise.collect.parted import PARTS, PartedMean, median_shares

SHAPE = (64, 96)


def shares_of(values: np.ndarray) -> np.ndarray:
    shares = median_shares([torch.tensor(part, dtype=torch.float32) for part in values])
    return torch.stack(shares).numpy()


def test_the_mean_of_the_shares_is_the_median() -> None:
    values = np.random.default_rng(0).standard_normal((PARTS, *SHAPE))
    np.testing.assert_allclose(shares_of(values).mean(0), np.median(values, axis=0), atol=1e-6)


def test_shares_scatter_by_the_medians_error() -> None:
    shares = shares_of(np.random.default_rng(1).standard_normal((PARTS, 400, 400)))
    assert shares.var(axis=0, ddof=1).mean() / PARTS == pytest.approx(shares.mean(0).var(), rel=0.02)


def test_equal_parts_share_equally() -> None:
    np.testing.assert_allclose(shares_of(np.ones((PARTS, 3, 5))), 1.0)


def test_parts_are_means_of_consecutive_draws_and_none_is_lost() -> None:
    draws = torch.randn(10, *SHAPE, generator=torch.Generator().manual_seed(0))
    parted = PartedMean(draws=10)
    for draw in draws:
        assert not parted.gradients
        parted.add(draw)
    for (_, plain), own in zip(parted.gradients, (draws[:2], draws[2:5], draws[5:8], draws[8:]), strict=True):
        torch.testing.assert_close(plain.float(), own.mean(0), rtol=0.01, atol=0.01)
