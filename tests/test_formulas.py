import numpy as np
import pytest
import torch

from gnoise import formulas

ENTRYWISE = (
    formulas.clip_value,
    formulas.shrink_rational,
    formulas.shrink_quartic,
    formulas.shrink_saturating,
)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).standard_cauchy(1000)


@pytest.mark.parametrize("formula", ENTRYWISE)
def test_neutral_setting_is_the_identity_bit_for_bit(formula, values: np.ndarray) -> None:
    np.testing.assert_array_equal(formula(values, np.inf), values)
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.tensor(values).to(dtype)
        assert torch.equal(formula(tensor, float("inf")), tensor)


@pytest.mark.parametrize("formula", ENTRYWISE)
def test_numpy_and_torch_agree_and_are_odd(formula, values: np.ndarray) -> None:
    found = formula(values, 0.7)
    np.testing.assert_allclose(formula(torch.tensor(values), 0.7).numpy(), found, rtol=1e-14)
    np.testing.assert_array_equal(formula(-values, 0.7), -found)
    assert np.all(np.abs(found) <= np.abs(values))


@pytest.mark.parametrize("formula", ENTRYWISE)
def test_entrywise_remedies_follow_the_scale(formula, values: np.ndarray) -> None:
    np.testing.assert_allclose(formula(8.0 * values, 8.0 * 0.7), 8.0 * formula(values, 0.7), rtol=1e-14)


def test_shapes_by_hand() -> None:
    x = np.array([0.5, 3.0, -1e6])
    np.testing.assert_allclose(formulas.clip_value(x, 1.0), [0.5, 1.0, -1.0])
    np.testing.assert_allclose(formulas.shrink_rational(x, 1.0), [0.4, 0.3, -1e-6], rtol=1e-9)
    np.testing.assert_allclose(formulas.shrink_quartic(np.array([1.0]), 1.0), [0.5])
    np.testing.assert_allclose(formulas.shrink_saturating(x, 2.0)[2], -2.0, rtol=1e-9)
    np.testing.assert_allclose(formulas.clip_value(x, np.array([0.1, 5.0, 2.0])), [0.1, 3.0, -2.0])


def test_norm_factor() -> None:
    norms = np.array([0.0, 0.5, 4.0])
    np.testing.assert_allclose(formulas.clip_norm_factor(norms, 1.0), [1.0, 1.0, 0.25])
    np.testing.assert_array_equal(formulas.clip_norm_factor(norms, np.inf), [1.0, 1.0, 1.0])


def test_stabilizer_keeps_a_constant_norm_at_one_and_bounds_a_spike() -> None:
    decays = (0.6, 0.999)
    m = v = np.zeros(1)
    ratios = []
    for step in range(1, 2001):
        norm = np.array([1000.0 if step == 2000 else 1.0])
        m, v = formulas.ema(m, norm, decays[0]), formulas.ema(v, norm**2, decays[1])
        ratio = formulas.stabilizer_ratio(
            formulas.bias_corrected(m, decays[0], step), formulas.bias_corrected(v, decays[1], step)
        )
        ratios.append(ratio.item())
    assert ratios[:1999] == pytest.approx([1.0] * 1999)
    bound = (1 - decays[0]) / (1 - decays[1]) ** 0.5 / (1 - decays[0] ** 2 / decays[1]) ** 0.5
    assert 1.0 < ratios[-1] <= bound


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_optimizers_take_the_steps_torch_takes(name: str) -> None:
    grads = np.random.default_rng(1).standard_normal((50, 7))
    weight = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    betas = (0.9, 0.95)
    optimizer = (
        torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        if name == "sgd"
        else torch.optim.AdamW([weight], lr=0.1, betas=betas, weight_decay=0.0)
    )
    ours = np.zeros(7)
    first = second = np.zeros(7)
    for step, grad in enumerate(grads, start=1):
        weight.grad = torch.tensor(grad)
        optimizer.step()
        if name == "sgd":
            first = formulas.sgd_momentum(first, grad, 0.9)
            ours = ours - 0.1 * first
        else:
            first, second = formulas.ema(first, grad, betas[0]), formulas.ema(second, grad**2, betas[1])
            ours = ours - 0.1 * formulas.adam_direction(first, second, step=step, betas=betas)
    np.testing.assert_allclose(weight.detach().numpy(), ours, rtol=1e-12)


def test_the_quietest_layer_keeps_its_rate() -> None:
    rates = formulas.noise_adaptive_rate(np.array([0.0, 3.0, 99.0]), 1.0)
    np.testing.assert_allclose(formulas.lr_multiplier(rates, rates.max()), [1.0, 0.5**0.5, 0.1**0.5])


def test_zclip_brings_outliers_down_and_leaves_the_rest() -> None:
    norms = np.array([1.0, 2.0, 4.0, 10.0])
    limits = formulas.zclip_limit(norms, mean=2.0, variance=1.0, z=2.0)
    np.testing.assert_allclose(np.minimum(norms, limits), [1.0, 2.0, 4.0, 2.5])


@pytest.mark.parametrize(("gamma", "s"), [(0.0, 2.0), (3.0, 0.0), (0.5, 1.5)])
def test_scales_come_back_from_the_characteristic_function(gamma: float, s: float) -> None:
    t = np.array([0.3, 1.0])
    low, high = gamma * t + s**2 * t**2 / 2
    np.testing.assert_allclose(formulas.cauchy_gaussian_scales(low, high, (0.3, 1.0)), (gamma, s**2), atol=1e-12)


def test_scales_are_never_negative() -> None:
    np.testing.assert_allclose(formulas.cauchy_gaussian_scales(np.array(0.6), np.array(0.7), (0.5, 1.0)), (1.2, 0.0))
    np.testing.assert_allclose(formulas.cauchy_gaussian_scales(np.array(0.1), np.array(0.9), (0.5, 1.0)), (0.0, 0.8))
