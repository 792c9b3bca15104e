import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from gnoise import formulas
from gnoise.errors import UserError
from gnoise.remedies import (
    adagc,
    agc,
    chain,
    clip_coordinates,
    clip_global_norm,
    clip_norm,
    clip_value,
    shrink,
    shrink_posterior_mean,
    stabilize,
    zclip,
)
from gnoise.remedies.clip_value import _clip_, _clip_all_
from gnoise.remedies.lists import batches, largest, norms
from gnoise.remedies.shrink import _FORMS
from gnoise.remedies.tracked_scale import init_scale, track_scale

FORMS = {
    "rational": formulas.shrink_rational,
    "quartic": formulas.shrink_quartic,
    "saturating": formulas.shrink_saturating,
}


def once(transform, grads, params=None):
    params = grads if params is None else params
    return transform.update([g.clone() for g in grads], transform.init(params), params)


def over(transform, sizes):
    """Run gradients (n, 0) of one tensor; return the norms that come out."""
    params = [torch.zeros(2)]
    state = transform.init(params)
    found = []
    for size in sizes:
        (grad,), state = transform.update([torch.tensor([float(size), 0.0])], state, params)
        found.append(grad[0].item())
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("numel", [1, 3, 1023, (1 << 17) + 1])
def test_shrinking_a_list_is_the_formula(form: str, numel: int) -> None:
    grads = [torch.empty(numel).cauchy_(generator=torch.Generator().manual_seed(numel)), torch.ones(2, 3).T]
    found, _ = once(shrink(form, 0.7), grads)
    each, _ = once(shrink(form, [0.7, 0.2]), grads)
    for a, b, grad, scale in zip(found, each, grads, (0.7, 0.2), strict=True):
        torch.testing.assert_close(a, FORMS[form](grad, 0.7))
        torch.testing.assert_close(b, FORMS[form](grad, scale))


@pytest.mark.parametrize("rule", [*_FORMS.values(), (_clip_, _clip_all_)], ids=[*_FORMS, "clip_value"])
@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e12])
def test_lists_on_a_gpu_and_parts_on_a_cpu_come_out_alike(rule, unit: float) -> None:
    alone, together = rule
    sizes = (500, (1 << 20) + 1, 300)
    grads = [unit * torch.empty(n).cauchy_(generator=torch.Generator().manual_seed(n)) for n in sizes]
    scales = [0.7 * unit, 0.4 * unit, 0.2 * unit]
    parts, numbers, tensors = ([g.clone() for g in grads] for _ in range(3))
    for part, scale in zip(parts, scales, strict=True):
        alone(part, scale)
    together(numbers, scales)
    together(tensors, [torch.tensor(scale) for scale in scales])
    for a, b, c in zip(parts, numbers, tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(b, c, rtol=1e-5, atol=0.0)


def test_clipping_by_hand() -> None:
    grads = [torch.tensor([3.0, 4.0]), torch.tensor([[-12.0]])]
    found, _ = once(clip_value([3.5, 1.0]), grads)
    assert [x.tolist() for x in found] == [[3.0, 3.5], [[-1.0]]]
    found, _ = once(clip_norm(2.5), grads)
    assert [x.tolist() for x in found] == [[1.5, 2.0], [[-2.5]]]
    found, _ = once(clip_global_norm(6.5), grads)
    assert [x.tolist() for x in found] == [[1.5, 2.0], [[-6.0]]]


def test_global_clipping_matches_torch() -> None:
    params = [torch.nn.Parameter(torch.zeros(s)) for s in ((30, 7), (11,))]
    for p in params:
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    ours, _ = once(clip_global_norm(0.5), [p.grad for p in params])
    torch.nn.utils.clip_grad_norm_(params, 0.5)
    for a, p in zip(ours, params, strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-5, atol=0.0)


def test_coordinates_are_clipped_by_their_own_past() -> None:
    generator = torch.Generator().manual_seed(0)
    params = [torch.zeros(40)]
    transform, decay, limit = clip_coordinates(2.0, decay=0.9), 0.9, 2.0
    state = transform.init(params)
    second = torch.zeros(40)
    for step in range(20):
        grad = torch.empty(40).cauchy_(generator=generator) * (torch.arange(40) > step)
        bound = limit * (second / (1 - decay ** max(step, 1))).sqrt()
        expected = torch.where(second == 0.0, grad, grad.clamp(-bound, bound))
        second = decay * second + (1 - decay) * expected**2
        (found,), state = transform.update([grad.clone()], state, params)
        torch.testing.assert_close(found, expected)


def test_agc_bounds_each_unit_by_its_weights() -> None:
    params = [torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([30.0, 40.0])]
    grads = [torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0.3, 0.4])]
    found, _ = once(agc(0.01), grads, params)
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 0.05], [1e-5, 0.0]]))
    torch.testing.assert_close(found[1], grads[1])


def test_adagc_follows_and_bounds() -> None:
    sizes = [1.0] * 10 + [100.0] + [1.0] * 3
    found = over(adagc(1.05, warmup=10), sizes)
    assert found[:10] == pytest.approx([1.0] * 10)
    assert found[10] == pytest.approx(1.05, rel=1e-6)
    assert found[11:] == pytest.approx([1.0] * 3)


def test_zclip_by_hand() -> None:
    sizes = [1.0, 2.0, 3.0, 2.0, 20.0, 2.0]
    found = over(zclip(2.0, decay=0.9, warmup=4), sizes)
    mean, variance = np.mean(sizes[:4]), np.var(sizes[:4])
    z = (20.0 - mean) / variance**0.5
    assert found[4] == pytest.approx(mean + variance**0.5 * 4.0 / z, rel=1e-6)
    assert found[:4] + found[5:] == sizes[:4] + sizes[5:]


def test_stabilizer_by_hand() -> None:
    found = over(stabilize((0.6, 0.999), max_ratio=math.inf), [2.0, 4.0])
    m = (0.6 * 0.4 * 2.0 + 0.4 * 4.0) / (1 - 0.6**2)
    v = (0.999 * 0.001 * 4.0 + 0.001 * 16.0) / (1 - 0.999**2)
    assert found == pytest.approx([1.0, m / v**0.5], rel=1e-6)
    spiked = over(stabilize(max_ratio=1.0), [1.0] * 500 + [1000.0] + [1.0] * 30)
    assert max(spiked) <= 1.0 + 1e-6
    assert 0.0 < spiked[-1] < 0.1


@given(
    sizes=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60),
    gammas=st.tuples(st.floats(0.0, 0.95), st.floats(0.0, 0.9999)).filter(lambda g: g[0] ** 2 < 0.99 * g[1]),
)
def test_stabilizer_keeps_its_published_bound(sizes: list[float], gammas: tuple[float, float]) -> None:
    first, second = gammas
    bound = (1 - first) / (1 - second) ** 0.5 / (1 - first**2 / second) ** 0.5
    assert max(over(stabilize(gammas, max_ratio=math.inf), sizes)) <= bound * (1 + 1e-5)


@pytest.mark.parametrize(("signal_std", "noise_scale"), [(1.0, 1.0), (2.0, 0.1), (0.3, 3.0)])
def test_posterior_mean_equals_numerical_integration(signal_std: float, noise_scale: float) -> None:
    x = signal_std * np.array([-30.0, -3.0, -0.5, 0.0, 0.1, 1.0, 5.0, 20.0])

    def integral(at: float, power: int) -> float:
        def density(g: float) -> float:
            return float(g**power * stats.norm.pdf(g, scale=signal_std) * stats.cauchy.pdf(at - g, scale=noise_scale))

        edges = np.unique(
            np.clip([-14.0, -1.0, 0.0, 1.0, 14.0, *(at / signal_std + np.array([-1.0, 0.0, 1.0]))], -14, 14)
        )
        parts = [
            integrate.quad(density, signal_std * a, signal_std * b, epsabs=0.0, epsrel=1e-13, limit=400)[0]
            for a, b in itertools.pairwise(edges)
        ]
        return math.fsum(parts)

    expected = np.array([integral(at, 1) / integral(at, 0) for at in x])
    found = shrink_posterior_mean(x, signal_std=signal_std, noise_scale=noise_scale)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * signal_std)


@pytest.mark.parametrize(("signal_std", "noise_scale"), [(1.0, 1.0), (1.0, 1e-6), (1e-6, 1.0), (1.0, 1e3), (1e3, 1e-3)])
def test_posterior_mean_keeps_its_digits_far_out(signal_std: float, noise_scale: float) -> None:
    x = signal_std * np.array([0.0, 1e-9, 1.0, -10.0, 29.0, 42.4, 42.5, -43.0, 60.0, 1e4, -1e6])
    with mpmath.workdps(40):
        z = [mpmath.mpc(at, noise_scale) / (signal_std * mpmath.sqrt(2)) for at in x]
        w = [mpmath.exp(-(at**2)) * mpmath.erfc(-1j * at) for at in z]
        expected = [float(at - noise_scale * f.imag / f.real) for at, f in zip(x, w, strict=True)]
    found = shrink_posterior_mean(x, signal_std=signal_std, noise_scale=noise_scale)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * signal_std)


def test_posterior_mean_redescends() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        far = shrink_posterior_mean(np.array([1e100, -1e12]), signal_std=1.0, noise_scale=0.5)
    np.testing.assert_allclose(far, [2e-100, -2e-12], rtol=1e-12)
    found = shrink_posterior_mean(np.array([1e4, -1e4]), signal_std=1.0, noise_scale=0.5)
    np.testing.assert_allclose(found, [2e-4, -2e-4], rtol=1e-3)


@pytest.mark.parametrize(("gaussian", "cauchy"), [(1.0, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_tracked_scale_finds_the_planted_one(gaussian: float, cauchy: float) -> None:
    generator = torch.Generator().manual_seed(1)
    state, scale = init_scale([torch.zeros(64, 64)]), torch.zeros(1)
    for step in range(60):
        grad = gaussian * torch.randn(64, 64, generator=generator)
        grad += cauchy * torch.empty(64, 64).cauchy_(generator=generator)
        grad[:32] = 0.0  # rows that did not occur
        scale, state = track_scale([1e-4 * grad * (1000.0 if step == 50 else 1.0)], state, decay=0.99, gain=1.0)
    spike = 1000.0 ** (0.99**9 * 0.01 / (1 - 0.99**60))
    assert scale.item() == pytest.approx(1e-4 * spike * (cauchy**2 + 2 * gaussian**2) ** 0.5, rel=0.12)


def test_chain_runs_in_order_and_keeps_its_states() -> None:
    grads = [torch.tensor([30.0, 40.0])]
    found, state = once(chain(clip_norm(5.0), clip_value(3.5), stabilize()), grads)
    expected = torch.tensor([3.0, 3.5])
    torch.testing.assert_close(found[0], expected / expected.norm())
    assert len(state.inner) == 3


def test_batches_cover_everything_once() -> None:
    tensors = [torch.zeros(s) for s in (3, 1 << 18, 5, 1 << 17)] + [torch.zeros(7, dtype=torch.float64)]
    tensors.append(torch.zeros(600, 500).T)
    for owners, (parts,) in batches(tensors):
        for owner, part in zip(owners, parts, strict=True):
            part += owner + 1
    for place, tensor in enumerate(tensors):
        assert (tensor == place + 1).all()


def test_norms_of_mixed_dtypes() -> None:
    tensors = [torch.full((9,), 2.0, dtype=d) for d in (torch.float32, torch.float64, torch.bfloat16, torch.float32)]
    assert norms(tensors).tolist() == [6.0] * 4
    assert largest([*tensors, torch.zeros(0), -3.0 * tensors[0]]).tolist() == [2.0] * 4 + [0.0, 6.0]


def test_a_norm_whose_square_overflows_is_bounded_all_the_same() -> None:
    found, _ = once(clip_norm(1.0), [torch.full((4,), 1e25), torch.tensor([math.inf, 1.0])])
    torch.testing.assert_close(found[0], torch.full((4,), 0.5))
    assert found[1].tolist() == [math.inf, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: clip_norm(0.0),
        lambda: clip_value(-1.0),
        lambda: shrink("cubic"),
        lambda: shrink("rational", [1.0, math.nan]),
        lambda: stabilize((0.6, 1.0)),
        lambda: stabilize(max_ratio=0.0),
        lambda: once(clip_value([1.0]), [torch.zeros(2), torch.zeros(2)]),
    ],
)
def test_settings_that_make_no_sense(make) -> None:
    with pytest.raises(UserError, match="; try "):
        make()
