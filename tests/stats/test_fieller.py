"""Fieller's set against its definition, its coverage, and the quantiles that allow for skewness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gnoise.errors import UserError
from gnoise.stats.fieller import (
    FiellerKind,
    fieller_set,
    ratio_set,
    skewed_mean_interval,
    skewed_quantiles,
    skewness,
)

T7 = float(stats.t.ppf(0.975, 7))
shifts = st.floats(-1.0, 3.0)
seeds = st.integers(0, 2**32 - 1)


def _pairs(seed: int, numerator: float, denominator: float) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((2, 8))
    return numerator + x[0], denominator + 0.5 * x[0] + x[1]


def _statistic(theta: float, numerator: np.ndarray, denominator: np.ndarray) -> float:
    contrast = numerator - theta * denominator
    return float(contrast.mean() / (contrast.std(ddof=1) / np.sqrt(contrast.size)))


@given(seeds, shifts, shifts)
def test_every_ratio_inside_passes_the_t_test_and_every_one_outside_fails(seed: int, over: float, under: float) -> None:
    numerator, denominator = _pairs(seed, 2.0 + over, under)
    found = fieller_set(numerator, denominator)
    if denominator.mean() <= 0.0 or numerator.mean() <= 0.0:
        return
    top = 1e6 if found.high is None else found.high
    for theta in np.concatenate([np.linspace(0.0, 20.0, 41), [found.low + 0.5 * (top - found.low)]]):
        if min(abs(theta - found.low), abs(theta - top)) < 1e-9:
            continue
        inside = found.low < theta < top
        assert inside == (abs(_statistic(float(theta), numerator, denominator)) <= T7), theta


@pytest.mark.parametrize(("truth", "denominator"), [(0.5, 4.0), (2.0, 1.0), (8.0, 0.25), (40.0, 0.05)])
def test_the_set_covers_at_its_level(truth: float, denominator: float) -> None:
    rng = np.random.default_rng(7)
    runs = 800
    mixing = np.array([[1.0, 0.0], [0.6, 0.8]])
    covered = 0
    for x in rng.standard_normal((runs, 8, 2)) @ mixing:
        found = fieller_set(truth * denominator + x[:, 0], denominator + x[:, 1])
        covered += found.low <= truth and (found.high is None or truth <= found.high)
    # Where the denominator comes out surely negative nothing is ruled out, and such sets cover as well.
    excess = 0.03 if denominator < 0.1 else 0.0
    assert -0.027 < covered / runs - 0.95 < 0.027 + excess


def test_a_sure_denominator_bounds_the_set() -> None:
    numerator, denominator = _pairs(0, 10.0, 10.0)
    found = fieller_set(numerator, denominator)
    assert found.kind is FiellerKind.BOUNDED
    assert found.high is not None
    assert 0.0 < found.low < numerator.mean() / denominator.mean() < found.high


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_unsure_denominator_leaves_only_a_lower_end(sign: float) -> None:
    unsure = np.array([1.0, -1.0, 2.0, -2.0, 1.5, -1.4, 0.5, -0.4]) * sign
    found = fieller_set(10.0 + 0.1 * unsure**2, unsure)
    assert found.kind is FiellerKind.ONE_SIDED
    assert found.low > 0.0
    assert found.high is None


@pytest.mark.parametrize(("over", "under"), [(0.0, 0.0), (5.0, -5.0), (-5.0, 5.0), (-5.0, -5.0), (0.0, -5.0)])
def test_no_ratio_that_is_not_negative_leaves_nothing_ruled_out(over: float, under: float) -> None:
    spread = np.array([1.0, -1.0, 2.0, -2.0])
    found = fieller_set(over + spread, under + np.roll(spread, 1))
    assert (found.kind, found.low, found.high) == (FiellerKind.UNBOUNDED, 0.0, None)


@pytest.mark.parametrize("pairs", [0, 1])
def test_fewer_than_two_pairs_are_refused(pairs: int) -> None:
    with pytest.raises(UserError, match="expected two or more pairs"):
        fieller_set(np.ones(pairs), np.ones(pairs))


@given(seeds, st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_scales_carry_over_and_order_does_not_matter(seed: int, over: float, under: float) -> None:
    numerator, denominator = _pairs(seed, 3.0, 2.0)
    found = fieller_set(numerator, denominator)
    order = np.random.default_rng(seed).permutation(8)
    scaled = fieller_set(10.0**over * numerator[order], 10.0**under * denominator[order])
    ratio = 10.0 ** (over - under)
    assert scaled.kind is found.kind
    assert scaled.low == pytest.approx(found.low * ratio, rel=1e-6)
    if found.high is not None:
        assert scaled.high == pytest.approx(found.high * ratio, rel=1e-6)


def test_a_wider_level_gives_a_wider_set() -> None:
    numerator, denominator = _pairs(3, 10.0, 10.0)
    narrow, wide = fieller_set(numerator, denominator, 0.8), fieller_set(numerator, denominator, 0.99)
    assert wide.low < narrow.low
    assert narrow.high is not None
    assert wide.high is not None
    assert narrow.high < wide.high


def test_equal_quantiles_give_the_plain_set() -> None:
    numerator, denominator = _pairs(5, 4.0, 3.0)
    means = np.array([numerator.mean(), denominator.mean()])
    assert ratio_set(means, np.cov(numerator, denominator) / 8, (T7, T7)) == fieller_set(numerator, denominator)


def test_without_skewness_the_quantiles_are_students() -> None:
    assert skewed_quantiles(0.0, 8) == pytest.approx((T7, T7))
    assert skewed_quantiles(1e-5, 8) == pytest.approx((T7, T7), rel=1e-4)


@given(st.floats(-2.8, 2.8), st.integers(8, 100))
def test_the_quantiles_invert_halls_transformation(skew: float, n: int) -> None:
    below, above = skewed_quantiles(skew, n)
    t = np.array([-below, above])
    root = np.sqrt(n)
    transformed = t + skew * t**2 / (3 * root) + skew**2 * t**3 / (27 * n) + skew / (6 * root)
    quantile = float(stats.t.ppf(0.975, n - 1))
    assert transformed == pytest.approx([-quantile, quantile], abs=1e-4)
    assert below > 0.0
    assert above > 0.0
    assert skewed_quantiles(-skew, n) == pytest.approx((above, below))


def test_skewness_is_the_textbook_coefficient() -> None:
    values = np.random.default_rng(0).exponential(size=12)
    stderr = float(values.std(ddof=1) / np.sqrt(12))
    assert skewness(values, stderr) == pytest.approx(stats.skew(values, bias=False))
    assert skewness(values[:2], stderr) == 0.0
    assert skewness(np.ones(5), 0.0) == 0.0


@pytest.mark.parametrize(("n", "least"), [(8, 0.90), (32, 0.925)])
def test_intervals_of_a_skewed_mean_cover_better_than_plain_ones(n: int, least: float) -> None:
    rng = np.random.default_rng(1)
    quantile = float(stats.t.ppf(0.975, n - 1))
    found = [skewed_mean_interval(values) for values in rng.exponential(size=(1500, n))]
    corrected = np.mean([interval.low <= 1.0 <= interval.high for interval in found])
    plain = np.mean([abs(interval.value - 1.0) <= quantile * interval.stderr for interval in found])
    assert corrected > plain
    assert corrected > least
