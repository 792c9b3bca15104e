"""The stable sampler against scipy, and the fits against laws with known parameters."""

import numpy as np
import pytest
from scipy import stats

from gnoise.records import Sketch, Status
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import (
    fit_stable_cf,
    fit_stable_cf_standardised,
    log_abs_cumulants,
    stable_rvs,
)


def _sketch(values: np.ndarray) -> Sketch:
    return sketch_from_values(values.astype(np.float32))


def _standardised(noise: np.ndarray, scale_values: int) -> Sketch:
    """Divide by the geometric mean of the first |noise| of each coordinate, and sketch the rest."""
    scale = np.exp(np.log(np.abs(noise[:scale_values])).mean(axis=0))
    return _sketch(noise[scale_values:] / scale)


def _log_cf(t: np.ndarray, alpha: float, beta: float, gamma: float, delta: float) -> np.ndarray:
    """Nolan's S0 log characteristic function, t > 0."""
    size = np.abs(gamma * t)
    if alpha == 1.0:
        bend = 1j * beta * (2 / np.pi) * np.log(size)
        return -size * (1 + bend) + 1j * delta * t
    bend = 1j * beta * np.tan(np.pi * alpha / 2) * (size ** (1 - alpha) - 1)
    return -(size**alpha) * (1 + bend) + 1j * delta * t


@pytest.mark.parametrize("alpha", [0.7, 0.999999, 1.0, 1.000001, 1.5, 2.0])
@pytest.mark.parametrize("beta", [-0.5, 0.0, 1.0])
def test_sampler_has_the_characteristic_function_of_s0(alpha: float, beta: float) -> None:
    t = np.array([0.2, 0.5, 1.0, 2.0])
    values = stable_rvs(alpha, beta, 40000, np.random.default_rng(7), gamma=1.3, delta=0.4)
    empirical = np.exp(1j * np.outer(t, values)).mean(axis=1)
    assert np.max(np.abs(empirical - np.exp(_log_cf(t, alpha, beta, 1.3, 0.4)))) < 4 / np.sqrt(40000)


def test_sampler_is_gaussian_and_cauchy_at_the_ends() -> None:
    rng = np.random.default_rng(8)
    assert stats.kstest(stable_rvs(2.0, 0.0, 5000, rng, gamma=3.0), stats.norm(0, 3 * np.sqrt(2)).cdf).pvalue > 0.01
    assert stats.kstest(stable_rvs(1.0, 0.0, 5000, rng, delta=1.0), stats.cauchy(1.0).cdf).pvalue > 0.01
    assert stable_rvs(1.5, 0.0, (2, 3), rng).shape == (2, 3)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 2.0])
def test_log_cumulants_are_those_of_samples(alpha: float) -> None:
    logs = np.log(np.abs(stable_rvs(alpha, 0.0, 400_000, np.random.default_rng(9))))
    variance, third = log_abs_cumulants(alpha)
    assert logs.var() == pytest.approx(variance, rel=0.02)
    assert stats.kstat(logs, 3) == pytest.approx(third, abs=0.04 * variance**1.5)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 1.8, 2.0])
@pytest.mark.parametrize("gamma", [1e-6, 1.0])
def test_fit_finds_index_and_scale(alpha: float, gamma: float) -> None:
    rng = np.random.default_rng(10)
    fits = [fit_stable_cf(_sketch(stable_rvs(alpha, 0.0, 10_000, rng, gamma=gamma))) for _ in range(20)]
    exponents, gammas = np.array([fit.exponent for fit in fits]), np.array([fit.gamma for fit in fits])
    error = exponents.std(ddof=1) / np.sqrt(20)
    assert abs(exponents.mean() - alpha) < 4 * error + 0.002
    assert exponents.std(ddof=1) < 0.03
    assert gammas.mean() == pytest.approx(gamma, rel=0.02)
    assert all(fit.status is Status.OK and fit.n == 10_000 and fit.alpha <= 2.0 for fit in fits)


def test_half_the_quartile_range_is_the_scale_of_a_cauchy_law() -> None:
    fit = fit_stable_cf(_sketch(stable_rvs(1.0, 0.0, 100_000, np.random.default_rng(11), gamma=0.3)))
    assert fit.cauchy_scale == pytest.approx(0.3, rel=0.02)
    assert fit.gamma == pytest.approx(fit.cauchy_scale, rel=0.02)


@pytest.mark.parametrize("scale_values", [4, 16])
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_correction_undoes_the_error_of_the_scales(alpha: float, scale_values: int) -> None:
    rng = np.random.default_rng(12)
    noise = stable_rvs(alpha, 0.0, (2 * scale_values, 200_000 // scale_values), rng)
    unequal = noise * np.exp(2.0 * rng.normal(size=noise.shape[1]))
    sketch = _standardised(unequal, scale_values)
    corrected, plain = fit_stable_cf_standardised(sketch, scale_values), fit_stable_cf(sketch)
    assert corrected.exponent == pytest.approx(alpha, abs=0.03)
    assert plain.exponent < alpha - 0.02
    typical = np.exp(np.log(np.abs(noise)).mean())
    assert corrected.gamma == pytest.approx(1.0 / typical, rel=0.02)


def test_unequal_scales_alone_look_heavy_and_are_not() -> None:
    rng = np.random.default_rng(13)
    noise = rng.normal(size=(32, 10_000)) * np.exp(rng.normal(size=10_000))
    assert fit_stable_cf(_sketch(noise)).alpha == pytest.approx(1.18, abs=0.05)
    noise *= np.exp(np.sqrt(3.0) * rng.normal(size=10_000))
    assert fit_stable_cf(_sketch(noise)).alpha < 0.7
    assert fit_stable_cf_standardised(_standardised(noise, 16), 16).alpha > 1.98


def test_degenerate_values_give_a_status() -> None:
    few = np.random.default_rng(14).normal(size=49)
    assert fit_stable_cf(_sketch(few)).status is Status.TOO_FEW_VALUES
    assert fit_stable_cf(_sketch(np.empty(0))).status is Status.TOO_FEW_VALUES
    assert fit_stable_cf(_sketch(np.zeros(1000))).status is Status.ALL_ZERO
    assert fit_stable_cf(_sketch(np.full(1000, 0.3))).status is Status.CONSTANT
    assert fit_stable_cf(_sketch(np.append(few, np.nan))).status is Status.NON_FINITE
    assert fit_stable_cf_standardised(_sketch(np.append(few, np.inf)), 16).status is Status.NON_FINITE


@pytest.mark.parametrize("values", [[-1.0, 1.0], [-1.0, 1.0, 1e30, -1e30], [-1e-40, 1e-40, 1e-45]])
def test_odd_laws_give_finite_numbers_or_a_status(values: list[float]) -> None:
    sketch = _sketch(np.repeat(values, 100))
    for fit in (fit_stable_cf(sketch), fit_stable_cf_standardised(sketch, 16)):
        assert np.all(np.isfinite([fit.exponent, fit.gamma, fit.cauchy_scale]))
        assert fit.gamma > 0.0 or fit.status is not Status.OK
