import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnoise.remedies.geometry import (
    Geometry,
    approximate_polar_factor,
    as_matrix,
    dual_norm,
    lmo,
    norm,
    nuclear_norm,
    polar_factor,
)

BALLS = (Geometry.SPECTRAL, Geometry.SIGN, Geometry.RMS)
SHAPES = {Geometry.SPECTRAL: ((5, 3), (3, 8), (4, 4), (6, 2, 3, 3))}
ANY = ((5, 3), (7,), (2, 3, 4))
CASES = [(geometry, shape) for geometry in BALLS for shape in SHAPES.get(geometry, ANY)]
every = pytest.mark.parametrize(("geometry", "shape"), CASES)


def drawn(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype).cauchy_(generator=torch.Generator().manual_seed(seed))


@every
@settings(max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_lmo_minimises_over_the_unit_ball(geometry: Geometry, shape: tuple[int, ...], seed: int) -> None:
    grad, best = drawn(shape, seed), lmo(drawn(shape, seed), geometry)
    assert best.shape == grad.shape
    assert norm(best, geometry) == pytest.approx(1.0)
    lowest = (grad * best).sum()
    for trial in range(20):
        point = drawn(shape, seed + trial + 1)
        point = point / norm(point, geometry)
        assert (grad * point).sum() >= lowest - 1e-9 * abs(lowest)
        nearby = best + 0.1 * point
        assert (grad * nearby / norm(nearby, geometry)).sum() >= lowest - 1e-9 * abs(lowest)


@every
@settings(max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_dual_norm_is_what_the_minimiser_reaches(geometry: Geometry, shape: tuple[int, ...], seed: int) -> None:
    grad = drawn(shape, seed)
    assert dual_norm(grad, geometry).item() == pytest.approx(-(grad * lmo(grad, geometry)).sum().item(), rel=1e-9)
    assert dual_norm(-3.0 * grad, geometry).item() == pytest.approx(3.0 * dual_norm(grad, geometry).item())


@pytest.mark.parametrize("geometry", BALLS)
def test_a_zero_gradient_goes_nowhere(geometry: Geometry) -> None:
    assert torch.equal(lmo(torch.zeros(3, 2), geometry), torch.zeros(3, 2))
    assert dual_norm(torch.zeros(3, 2), geometry) == 0.0


def test_values_by_hand() -> None:
    grad = torch.tensor([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]])
    stretch = math.sqrt(3 / 2)
    torch.testing.assert_close(lmo(grad, Geometry.SPECTRAL), stretch * torch.tensor([[-1.0, 0], [0, 1], [0, 0]]))
    torch.testing.assert_close(lmo(grad, Geometry.RMS), -math.sqrt(6) / 5 * grad)
    found = [dual_norm(grad, geometry).item() for geometry in BALLS]
    assert found == pytest.approx([7 * stretch, 7.0, 5 * math.sqrt(6)])


def test_polar_factor_leaves_out_what_has_no_direction() -> None:
    grad = torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0, 0.0]))
    torch.testing.assert_close(polar_factor(grad), grad / 10.0)


def matrix(kind: str, shape: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(shape, generator=generator)
    match kind:
        case "cauchy":
            return torch.empty(shape).cauchy_(generator=generator)
        case "low rank":
            return gaussian[:, :16] @ torch.randn(16, shape[1], generator=generator)
        case "power law":
            left, values, right = torch.linalg.svd(gaussian, full_matrices=False)
            return left / torch.arange(1, len(values) + 1) @ right
        case _:
            return gaussian


@pytest.mark.parametrize("shape", [(160, 300), (300, 160), (200, 200)])
@pytest.mark.parametrize("kind", ["gaussian", "cauchy", "low rank", "power law"])
def test_approximate_nuclear_norm_is_at_most_four_percent_small(shape: tuple[int, int], kind: str) -> None:
    grad = matrix(kind, shape)
    ratio = (nuclear_norm(grad) / nuclear_norm(grad, exact=True)).item()
    assert 0.96 < ratio < 1.005


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_muon_takes_the_approximate_polar_factor_without_polish(shape: tuple[int, int]) -> None:
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = drawn(shape, 1, torch.float32)
    torch.optim.Muon([weight], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0).step()
    taken = -weight.detach() / max(1.0, shape[0] / shape[1]) ** 0.5
    assert torch.equal(taken.bfloat16(), approximate_polar_factor(weight.grad, steps=5, polish=0))


def test_kernels_are_views_in_either_memory_order() -> None:
    kernel = torch.arange(24.0).reshape(2, 3, 2, 2)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = kernel.clone(memory_format=layout)
        assert as_matrix(x).data_ptr() == x.data_ptr()
        assert as_matrix(x).shape == (2, 12)
        torch.testing.assert_close(as_matrix(kernel, like=x), as_matrix(x))
    dual = [
        dual_norm(kernel.clone(memory_format=f), Geometry.SPECTRAL)
        for f in (torch.contiguous_format, torch.channels_last)
    ]
    torch.testing.assert_close(*dual)
