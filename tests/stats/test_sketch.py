"""Sketches against the values they were made of."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gnoise.records import Sketch
from gnoise.stats.sketch import (
    BUCKETS,
    abs_quantiles,
    bucket_edges,
    bucket_values,
    characteristic_function,
    coarse_bins,
    leave_one_out,
    merge,
    quantiles,
    sketch_from_counts,
    sketch_from_values,
    symmetric_characteristic_function,
    total,
)

LEVELS = np.linspace(0.0, 1.0, 41)
float32s = arrays.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
)


def _same(a: Sketch, b: Sketch) -> bool:
    return (
        np.array_equal(a.buckets, b.buckets)
        and np.array_equal(a.counts, b.counts)
        and (a.zeros, a.nonfinite) == (b.zeros, b.nonfinite)
    )


@given(float32s)
def test_every_value_is_counted_in_the_bucket_it_lies_in(values: np.ndarray) -> None:
    sketch = sketch_from_values(values)
    assert total(sketch) + sketch.zeros + sketch.nonfinite == values.size
    assert sketch.zeros == np.count_nonzero(values == 0.0)
    assert sketch.nonfinite == np.count_nonzero(~np.isfinite(values))
    assert np.all(np.diff(sketch.buckets) > 0)
    assert np.all(sketch.counts > 0)
    numbers = values[np.isfinite(values) & (values != 0.0)].astype(np.float64)
    lower, upper = bucket_edges(sketch.buckets)
    inside = np.where(
        numbers[:, None] > 0.0,
        (numbers[:, None] >= lower) & (numbers[:, None] < upper),
        (numbers[:, None] > lower) & (numbers[:, None] <= upper),
    )
    assert np.array_equal(inside.sum(axis=1), np.ones(numbers.size))
    assert np.array_equal(inside.sum(axis=0), sketch.counts)


def test_buckets_are_the_leading_bits() -> None:
    values = np.array([1.0, -1.0, 1.5, 3.4e38, -3.4e38, 1e-45, -1e-45, 0.0, -0.0], dtype=np.float32)
    sketch = sketch_from_values(values)
    expected = np.unique(values[values != 0.0].view(np.uint32) >> 15)
    assert np.array_equal(sketch.buckets, expected)
    assert sketch.zeros == 2


def test_every_finite_bucket_decodes() -> None:
    magnitudes = np.arange(255 << 8)
    bits = (magnitudes.astype(np.uint32) << 15).view(np.float32).astype(np.float64)
    lower, upper = bucket_edges(magnitudes)
    assert np.array_equal(lower, bits)
    assert np.array_equal(upper[:-1], bits[1:])
    assert upper[-1] == 2.0**128
    mirrored_lower, mirrored_upper = bucket_edges(magnitudes + BUCKETS // 2)
    assert np.array_equal(mirrored_lower, -upper)
    assert np.array_equal(mirrored_upper, -lower)
    normal = magnitudes >= 1 << 8
    middle = bucket_values(magnitudes)
    assert np.all((upper - middle)[normal] <= 2.0**-9 * middle[normal] * (1 + 1e-12))


@given(st.lists(float32s, max_size=4))
def test_merging_is_counting_everything_at_once(parts: list[np.ndarray]) -> None:
    everything = np.concatenate([np.empty(0, np.float32), *parts])
    assert _same(merge([sketch_from_values(part) for part in parts]), sketch_from_values(everything))


def test_leaving_one_out_leaves_the_others() -> None:
    parts = [np.full(3, value, np.float32) for value in (1.0, 2.0, 4.0)]
    sketches = [sketch_from_values(part) for part in parts]
    for place, left in enumerate(leave_one_out(sketches)):
        others = np.concatenate([part for other, part in enumerate(parts) if other != place])
        assert _same(left, sketch_from_values(others))


def test_dense_counts_move_infinities_apart() -> None:
    counts = np.zeros(BUCKETS, dtype=np.int64)
    counts[[5, 255 << 8, (255 << 8) + 77, BUCKETS - 1]] = [4, 1, 2, 3]
    sketch = sketch_from_counts(counts, zeros=9)
    assert sketch.buckets.tolist() == [5]
    assert sketch.counts.tolist() == [4]
    assert (sketch.zeros, sketch.nonfinite) == (9, 6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("size", [1, 2, 3, 50, 20001])
def test_quantiles_agree_with_numpy(scale: float, size: int) -> None:
    # Away from zero every order statistic is within half a bucket, and so is what lies between two.
    rng = np.random.default_rng(size)
    values = (scale * rng.lognormal(0.0, 2.0, size)).astype(np.float32)
    sketch = sketch_from_values(values)
    exact = np.quantile(values.astype(np.float64), LEVELS)
    assert quantiles(sketch, LEVELS) == pytest.approx(exact, rel=0.005)
    mirrored = quantiles(sketch_from_values(-values), 1.0 - LEVELS)
    assert mirrored == pytest.approx(-exact, rel=0.005)


def test_abs_quantiles_fold_the_sign() -> None:
    values = np.random.default_rng(3).standard_cauchy(30001).astype(np.float32)
    exact = np.quantile(np.abs(values.astype(np.float64)), LEVELS)
    assert abs_quantiles(sketch_from_values(values), LEVELS) == pytest.approx(exact, rel=0.005)


def test_far_quantiles_of_cauchy_values_are_within_half_a_percent() -> None:
    values = np.abs(np.random.default_rng(6).standard_cauchy(1_000_000)).astype(np.float32)
    levels = np.array([0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999])
    exact = np.quantile(values.astype(np.float64), levels)
    assert quantiles(sketch_from_values(values), levels) == pytest.approx(exact, rel=0.005)
    assert abs_quantiles(sketch_from_values(-values), levels) == pytest.approx(exact, rel=0.005)


def test_lists_and_other_number_types_are_counted_alike() -> None:
    counted = sketch_from_values(np.array([1.0, -2.0, 3.0, 0.0], np.float32))
    assert _same(sketch_from_values([1, -2, 3, 0]), counted)
    assert _same(sketch_from_values(np.array([[1.0, -2.0], [3.0, 0.0]])), counted)
    beyond = sketch_from_values([1e300, 1e-300, 1.0])
    assert (total(beyond), beyond.zeros, beyond.nonfinite) == (1, 1, 1)


@given(float32s, st.integers(2, 60))
def test_coarse_bins_hold_exactly_the_values_between_their_edges(values: np.ndarray, bins: int) -> None:
    numbers = values[np.isfinite(values) & (values != 0.0)].astype(np.float64)
    assume(numbers.size > 0)
    found = coarse_bins(sketch_from_values(values), bins)
    assert found.counts.size <= bins
    assert np.all(np.diff(found.edges) > 0.0)
    # A bucket's inner end, nearer zero, is its own: bins are closed below on the right of zero, above on its left.
    lower, upper, x = found.edges[:-1], found.edges[1:], numbers[:, None]
    inside = np.where(x > 0.0, (x >= lower) & (x < upper), (x > lower) & (x <= upper))
    assert np.array_equal(inside.sum(axis=0), found.counts)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_coarse_bins_are_narrow_beside_the_law(scale: float) -> None:
    values = scale * np.random.default_rng(7).standard_cauchy(100_000)
    found = coarse_bins(sketch_from_values(values))
    assert 1000 < found.counts.size <= 2048
    assert found.counts.sum() == 100_000
    assert np.max(np.diff(np.arcsinh(found.edges / scale))) < 0.03


def test_coarse_bins_of_one_bucket_are_that_bucket() -> None:
    found = coarse_bins(sketch_from_values([1.5] * 7))
    assert found.counts.tolist() == [7]
    assert found.edges.tolist() == [1.5, 1.5 + 2.0**-8]


def test_zeros_take_no_part() -> None:
    values = np.random.default_rng(4).normal(size=1000).astype(np.float32)
    padded = np.concatenate([values, np.zeros(5000, np.float32)])
    frequencies = np.linspace(0.1, 3.0, 7)
    bare, with_zeros = sketch_from_values(values), sketch_from_values(padded)
    assert np.array_equal(quantiles(bare, LEVELS), quantiles(with_zeros, LEVELS))
    assert np.array_equal(characteristic_function(bare, frequencies), characteristic_function(with_zeros, frequencies))


def test_characteristic_function_agrees_with_the_values() -> None:
    values = (np.random.default_rng(5).standard_cauchy(20000) + 0.7).astype(np.float32)
    frequencies = np.linspace(0.1, 2.0, 9)
    sketch = sketch_from_values(values)
    exact = np.exp(1j * np.outer(frequencies, values.astype(np.float64))).mean(axis=1)
    # What lies beyond 2⁸ periods is noise in the exact sum and spread out in the sketch.
    assert np.max(np.abs(characteristic_function(sketch, frequencies) - exact)) < 3e-4
    found = characteristic_function(sketch, 0.1 * np.arange(1, 21))
    assert symmetric_characteristic_function(sketch, 0.1, 20) == pytest.approx(found.real, abs=1e-12)


def test_characteristic_function_of_huge_values_fades_out() -> None:
    values = np.array([3e38, -3e38, 1e20, -1e20], dtype=np.float32)
    found = characteristic_function(sketch_from_values(values), np.array([1e-3, 1.0, 1e30]))
    assert np.max(np.abs(found)) < 1e-3
