"""Sketches, scales and matrices: the torch side against NumPy done the long way."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gnoise.collect.matrices import _permuted, matrix_numbers, matrix_sample
from gnoise.collect.replayed import Replayed
from gnoise.collect.scale import MAX_COORDINATES, CoordinateScale
from gnoise.collect.singular import top_singular
from gnoise.collect.sketching import SketchCounter, count, count_on_device, median_magnitude
from gnoise.stats.noise_matrix import matrix_sample as plain_sample
from gnoise.stats.spectrum import EXACT_SIDE


def test_a_sketch_counts_every_value_once() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_cauchy(5000) * 1e-3).astype(np.float32)
    values[:7] = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-42, -1e-42]
    counter = SketchCounter()
    counter.add(torch.from_numpy(values).reshape(50, 100))
    sketch = counter.take()
    finite = values[np.isfinite(values) & (values != 0)]
    buckets, counts = np.unique(finite.view(np.uint32) >> 15, return_counts=True)
    np.testing.assert_array_equal(sketch.buckets, buckets)
    np.testing.assert_array_equal(sketch.counts, counts)
    assert (sketch.zeros, sketch.nonfinite) == (2, 3)
    assert counter.take().counts.sum() == 0


def test_sketches_add_exactly() -> None:
    values = torch.randn(4000)
    whole, parts = SketchCounter(), SketchCounter()
    whole.add(values)
    parts.add(values[:1234])
    parts.add(values[1234:])
    a, b = whole.take(), parts.take()
    np.testing.assert_array_equal(a.counts, b.counts)
    np.testing.assert_array_equal(a.buckets, b.buckets)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_the_median_magnitude_is_read_off_the_counts(scale: float) -> None:
    values = scale * torch.randn(20_001)
    values[:5000] = 0
    counted = count(values)
    expected = float(values[5000:].abs().median())
    assert counted.zeros == 5000
    assert median_magnitude(counted) == pytest.approx(expected, rel=5e-3)
    assert median_magnitude(count(torch.zeros(9))) == 0.0


@pytest.mark.parametrize("many", [500, 50_000])
def test_counting_where_the_values_are_counts_the_same(many: int) -> None:
    values = torch.from_numpy((np.random.default_rng(0).standard_cauchy(many) * 1e-3).astype(np.float32))
    values[:8] = torch.tensor([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-42, -1e-42, 3e38])
    plain, fused = count(values), count_on_device(values)
    np.testing.assert_array_equal(fused.octaves, plain.octaves)
    np.testing.assert_array_equal(fused.counts, plain.counts)
    assert fused.zeros == plain.zeros == 2


def test_what_would_be_replayed_on_a_gpu_runs_as_it_is_elsewhere() -> None:
    calls: list[Tensor] = []

    def doubled(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(x)
        return (2 * x,)

    replayed = Replayed(doubled)
    x = torch.randn(3)
    torch.testing.assert_close(replayed(x)[0], 2 * x)
    torch.testing.assert_close(replayed(x + 1)[0], 2 * x + 2)
    assert len(calls) == 2
    replayed.clear()


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (127, 64), (40, 200)])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e12])
def test_matrix_numbers_equal_a_full_svd(shape: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(1)
    exact = rng.standard_normal(shape)
    exact[0, 0] += 3.0
    noise = torch.tensor(exact * scale, dtype=torch.float32)
    numbers = matrix_numbers(noise, median_magnitude=scale, generator=torch.Generator())
    left, sigmas, right = np.linalg.svd(exact)
    assert numbers.spectral / scale == pytest.approx(sigmas[0], rel=1e-5)
    assert numbers.nuclear is not None
    assert numbers.nuclear / scale == pytest.approx(sigmas.sum(), rel=1e-4)
    assert numbers.ipr_left == pytest.approx((left[:, 0] ** 4).sum(), rel=1e-3)
    assert numbers.ipr_right == pytest.approx((right[0] ** 4).sum(), rel=1e-3)
    assert numbers.max_entry / scale == pytest.approx(np.abs(exact).max(), rel=1e-6)
    assert numbers.l1 / scale == pytest.approx(np.abs(exact).sum(), rel=1e-5)


def test_matrix_energies_are_winsorised() -> None:
    noise = torch.ones(4, 5)
    noise[2, 3] = 1e6
    numbers = matrix_numbers(noise, median_magnitude=1.0, generator=torch.Generator())
    np.testing.assert_allclose(numbers.row_energy, [5, 5, 13, 5])
    np.testing.assert_allclose(numbers.column_energy, [4, 4, 4, 12, 4])
    assert numbers.winsorised_fourth == pytest.approx(19 + 81)
    sample = matrix_sample(4, 5, [numbers, numbers])
    assert sample.row_energy.shape == (2, 4)
    assert sample.spectral.shape == (2,)


@pytest.mark.parametrize("shape", [(3, 7), (40, 30), (270, 300), (300, 260)])
def test_what_verdicts_are_read_from_is_what_plain_arrays_give(shape: tuple[int, int]) -> None:
    exact = np.random.default_rng(3).standard_t(3, (1, *shape)).astype(np.float32)
    exact[:, :, 1] = 0.0
    median = float(np.median(np.abs(exact[exact != 0.0])))
    generator = torch.Generator().manual_seed(0)
    found = matrix_numbers(torch.from_numpy(exact[0]), median_magnitude=median, generator=generator, permute=True)
    obvious = plain_sample(exact.astype(np.float64), np.random.default_rng(0))
    made = matrix_sample(*shape, [found])
    sampled = min(shape) > EXACT_SIDE
    for name in ("spectral", "ipr_left", "ipr_right", "row_energy", "column_energy", "winsorised_fourth"):
        np.testing.assert_allclose(getattr(made, name), getattr(obvious, name), rtol=2e-3, err_msg=name)
    np.testing.assert_array_equal(made.max_position, obvious.max_position)
    for name, tolerance in {"bulk_scale": 0.03 if sampled else 1e-4, "permuted_ratio": 0.4}.items():
        np.testing.assert_allclose(getattr(made, name), getattr(obvious, name), rtol=tolerance, err_msg=name)
    assert made.coherent_fourth is not None
    assert obvious.coherent_fourth is not None
    off = float((made.coherent_fourth - obvious.coherent_fourth)[0]) / float(made.row_energy.sum()) ** 2
    assert abs(off) < (2e-3 if sampled else 1e-5)


@pytest.mark.parametrize("entries", [1000, 70_001])
def test_a_permutation_keeps_entries_and_takes_coherence(entries: int) -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(entries, generator=generator)
    mixed = _permuted(noise[None], generator)[0]
    torch.testing.assert_close(mixed.sort().values, noise.sort().values, rtol=0, atol=0)
    assert (mixed == noise).float().mean() < 0.01
    rank_one = torch.randn(300, 1, generator=generator) @ torch.randn(1, 240, generator=generator)
    assert torch.linalg.matrix_norm(_permuted(rank_one, generator), 2) < 0.3 * torch.linalg.matrix_norm(rank_one, 2)


def test_only_pairs_that_were_permuted_have_a_ratio() -> None:
    noise = torch.randn(9, 8, generator=torch.Generator().manual_seed(2))
    pairs = [
        matrix_numbers(noise, median_magnitude=0.7, generator=torch.Generator(), permute=permute)
        for permute in (True, False, False)
    ]
    sample = matrix_sample(9, 8, pairs)
    assert sample.permuted_ratio is not None
    assert sample.permuted_ratio.shape == (1,)
    assert sample.spectral.shape == (3,)


def test_the_iteration_finds_the_top_of_a_large_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    side = EXACT_SIDE + 1
    noise = torch.randn(side, side, generator=generator)
    noise[5] *= 4
    numbers = matrix_numbers(noise, median_magnitude=1.0, generator=generator)
    assert numbers.nuclear is None
    assert numbers.spectral == pytest.approx(float(torch.linalg.matrix_norm(noise, 2)), rel=1e-3)
    assert numbers.ipr_left > 0.5


def test_a_zero_matrix_has_zeros_not_nan() -> None:
    numbers = matrix_numbers(torch.zeros(3, 4), median_magnitude=0.0, generator=torch.Generator())
    assert (numbers.spectral, numbers.nuclear, numbers.ipr_left) == (0.0, 0.0, 0.0)


def test_each_coordinate_is_divided_by_its_own_geometric_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.logspace(-6, 6, 101)
    scale = CoordinateScale(101)
    pairs = [true * torch.randn(101, generator=generator) for _ in range(200)]
    for noise in pairs[:100]:
        scale.learn(noise)
    expected = torch.stack(pairs[:100]).abs().log().mean(0).exp()
    torch.testing.assert_close(scale.standardise(pairs[150]), pairs[150] / expected, rtol=1e-3, atol=0)


def test_rarely_visited_coordinates_are_left_out() -> None:
    scale = CoordinateScale(3)
    for step in range(10):
        scale.learn(torch.tensor([1.0, 1.0 if step < 5 else 0.0, 0.0]))
    assert scale.standardise(torch.tensor([2.0, 2.0, 2.0])).tolist() == [2.0]


def test_huge_tensors_are_strided() -> None:
    numel = 3 * MAX_COORDINATES + 1
    scale = CoordinateScale(numel)
    noise = torch.ones(numel)
    scale.learn(noise)
    assert scale.standardise(noise).numel() == -(-numel // 4)


@pytest.mark.parametrize("values", [3, 4095, 4096])
def test_few_values_are_counted_as_many_are(values: int) -> None:
    numbers = torch.randn(values, generator=torch.Generator().manual_seed(values)) * 1e-20
    numbers[:3] = torch.tensor([0.0, -0.0, torch.inf])
    alone, among = count(numbers), count(torch.cat([numbers, torch.ones(5000)]))
    extra = int(np.flatnonzero(among.octaves == 127)[0])
    among.counts[extra, 0] -= 5000
    kept = among.counts.any(1)
    np.testing.assert_array_equal(alone.octaves, among.octaves[kept])
    np.testing.assert_array_equal(alone.counts, among.counts[kept])
    assert alone.zeros == among.zeros == 2


def test_top_vectors_of_equal_singular_values_are_singular_vectors() -> None:
    numbers = top_singular(
        torch.diag(torch.tensor([1.0, 1.0, 0.5])),
        live_rows=torch.ones(3, dtype=torch.bool),
        live_columns=torch.ones(3, dtype=torch.bool),
        generator=torch.Generator().manual_seed(0),
    )
    assert numbers.sigma == pytest.approx(1.0)
    assert abs(float(numbers.left[2])) < 1e-6
    torch.testing.assert_close(numbers.left, numbers.right)
