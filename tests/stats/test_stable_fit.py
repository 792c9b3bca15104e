"""The stable maximum-likelihood fit: truth within its own standard errors, scale, shift, odd data."""

import dataclasses

import numpy as np
import pytest

from gnoise.records import Status
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import StableFit, fit_stable, stable_information
from gnoise.stats.stable_law import stable_pdf

PARAMETERS = ("alpha", "beta", "gamma", "delta")


def _z_scores(fit: StableFit, truth: tuple[float, ...]) -> list[float]:
    pairs = zip(PARAMETERS, truth, strict=True)
    return [(getattr(fit, name) - value) / getattr(fit, f"{name}_stderr") for name, value in pairs]


@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.5), (0.8, 0.9), (1.0, 0.0), (1.3, -0.5), (1.7, 0.9), (1.95, 0.0)])
def test_truth_lies_within_the_standard_errors(alpha: float, beta: float) -> None:
    truth = (alpha, beta, 2.0, 0.3)
    values = stable_rvs(alpha, beta, 20_000, np.random.default_rng(3), gamma=2.0, delta=0.3)
    fit = fit_stable(values)
    assert fit.status is Status.OK
    assert fit.n == 20_000
    assert max(map(abs, _z_scores(fit, truth))) < 3.5
    for name in PARAMETERS:
        assert getattr(fit, f"{name}_low") <= getattr(fit, name) <= getattr(fit, f"{name}_high")


def test_errors_scatter_as_the_standard_errors_say() -> None:
    rng = np.random.default_rng(5)
    fits = [fit_stable(stable_rvs(1.5, 0.3, 1000, rng)) for _ in range(16)]
    scores = np.array([_z_scores(fit, (1.5, 0.3, 1.0, 0.0)) for fit in fits])
    assert np.all(np.abs(scores.mean(axis=0)) < 3.5 / np.sqrt(16))
    assert np.all((scores.std(axis=0) > 0.45) & (scores.std(axis=0) < 1.6))


@pytest.mark.parametrize(
    ("alpha", "per_root_n"),
    [(1.0, (1.103, 1.732, 1.445, 1.445)), (1.5, (1.535, 3.037, 1.081, 1.747)), (1.95, (0.884, 14.55, 0.791, 1.619))],
)
def test_standard_errors_are_the_asymptotic_ones(alpha: float, per_root_n: tuple[float, ...]) -> None:
    # So many values that the fit lands on the law, mirrored so that it is symmetric.
    n = 2_000_000
    values = stable_rvs(alpha, 0.0, n // 2, np.random.default_rng(6))
    fit = fit_stable(np.concatenate([values, -values]))
    stderr = [getattr(fit, f"{name}_stderr") * np.sqrt(n) for name in PARAMETERS]
    assert fit.beta == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(stderr, per_root_n, rtol=0.03)


def test_likelihood_is_at_its_top() -> None:
    values = stable_rvs(1.4, 0.6, 150, np.random.default_rng(8), gamma=0.5, delta=2.0)
    fit = fit_stable(values)

    def loglik(**moved: float) -> float:
        law = {name: getattr(fit, name) for name in PARAMETERS} | moved
        pdf = stable_pdf(values, law["alpha"], law["beta"], gamma=law["gamma"], delta=law["delta"])
        return float(np.log(pdf).sum())

    assert fit.loglik == pytest.approx(loglik(), abs=0.01)
    for name in PARAMETERS:
        for side in (-0.3, 0.3):
            moved = getattr(fit, name) + side * getattr(fit, f"{name}_stderr")
            assert loglik(**{name: moved}) < loglik() + 1e-3


def test_sketch_and_values_agree_and_symmetry_holds_beta() -> None:
    values = stable_rvs(1.2, 0.0, 30_000, np.random.default_rng(9)).astype(np.float32)
    from_values, from_sketch = fit_stable(values), fit_stable(sketch_from_values(values))
    for name in PARAMETERS:
        gap = abs(getattr(from_values, name) - getattr(from_sketch, name))
        assert gap < 0.1 * getattr(from_values, f"{name}_stderr")
    held = fit_stable(values, symmetric=True)
    assert (held.beta, held.beta_stderr) == (0.0, 0.0)
    assert held.alpha == pytest.approx(from_values.alpha, abs=from_values.alpha_stderr)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_start_does_not_change_where_a_fit_ends(symmetric: bool) -> None:
    values = stable_rvs(1.6, 0.0, 5000, np.random.default_rng(15), gamma=3.0, delta=-2.0)
    fit = fit_stable(values, symmetric=symmetric)
    away = dataclasses.replace(fit, alpha=1.3, beta=0.3, gamma=2.0, delta=-1.0)
    again = fit_stable(values, symmetric=symmetric, start=away)
    assert again.status is Status.OK
    for name in PARAMETERS:
        assert getattr(again, name) == pytest.approx(getattr(fit, name), abs=0.05 * fit.gamma_stderr)
    assert again.loglik == pytest.approx(fit.loglik, abs=0.02)
    failed = fit_stable([])
    assert fit_stable(values, symmetric=symmetric, start=failed) == fit


def test_intervals_of_alpha_hold_the_truth_near_2() -> None:
    rng = np.random.default_rng(16)
    fits = [fit_stable(stable_rvs(1.95, 0.0, 1000, rng), symmetric=True) for _ in range(200)]
    assert 182 <= sum(fit.alpha_low <= 1.95 <= fit.alpha_high for fit in fits) <= 198
    assert all(0.0 <= fit.alpha_low < fit.alpha_high <= 2.0 for fit in fits)


def test_intervals_of_beta_hold_the_truth_where_little_is_known_of_it() -> None:
    # Plain Wald intervals hold it in half of such runs: at ±0.999 the standard error is next to nothing.
    rng = np.random.default_rng(18)
    fits = [fit_stable(stable_rvs(1.95, 0.9, 1000, rng)) for _ in range(8)]
    assert any(fit.beta > 0.99 for fit in fits)
    assert sum(fit.beta_low <= 0.9 <= fit.beta_high for fit in fits) >= 7
    assert all(-1.0 <= fit.beta_low < fit.beta_high <= 1.0 for fit in fits)


def test_information_of_a_cauchy_law_is_the_closed_form() -> None:
    information = stable_information(1.0, 0.0)
    np.testing.assert_allclose(np.diag(information)[2:], 0.5, rtol=1e-3)
    assert np.sqrt(np.linalg.inv(information)[0, 0]) == pytest.approx(1.103, rel=0.01)


def test_lists_integers_and_float32_are_fitted_alike() -> None:
    values = np.round(100.0 * stable_rvs(1.5, 0.0, 200, np.random.default_rng(17)))
    fit = fit_stable(values, symmetric=True)
    assert fit.status is Status.OK
    for alike in (values.tolist(), values.astype(np.int64), values.astype(np.float32), values.reshape(10, 20)):
        assert fit_stable(alike, symmetric=True) == fit


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_scale_and_shift_carry_over(factor: float) -> None:
    values = stable_rvs(1.6, -0.4, 3000, np.random.default_rng(10))
    fit, moved = fit_stable(values), fit_stable(factor * (values + 3.0))
    assert moved.alpha == pytest.approx(fit.alpha, abs=1e-6)
    assert moved.beta == pytest.approx(fit.beta, abs=1e-5)
    assert moved.gamma == pytest.approx(factor * fit.gamma, rel=1e-6)
    assert moved.delta == pytest.approx(factor * (fit.delta + 3.0), rel=1e-6)


def test_gaussian_values_are_at_the_upper_end() -> None:
    fit = fit_stable(np.random.default_rng(12).normal(size=5000))
    assert fit.status is Status.OK
    assert fit.alpha > 1.98
    assert fit.alpha_high == 2.0
    assert fit.gamma == pytest.approx(np.sqrt(0.5), rel=0.05)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros(100), Status.ALL_ZERO),
        (np.ones(100), Status.CONSTANT),
        (np.repeat([0.0, 1.0], [10, 90]), Status.FEW_DISTINCT),
        (np.repeat([0.0, 1.0], 50), Status.FEW_DISTINCT),
        (np.append(np.linspace(-1.0, 1.0, 100), np.zeros(40)), Status.FEW_DISTINCT),
        (np.repeat([-1e30, 1e-30, 3.0, 7.0], 50), Status.FEW_DISTINCT),
        (np.arange(20.0), Status.TOO_FEW_VALUES),
        (np.array([]), Status.TOO_FEW_VALUES),
        (np.append(np.arange(100.0), np.nan), Status.NON_FINITE),
        (np.append(np.arange(100.0), np.inf), Status.NON_FINITE),
    ],
)
def test_odd_values_give_a_status(values: np.ndarray, status: Status) -> None:
    fit = fit_stable(values)
    assert fit.status is status
    numbers = dataclasses.asdict(fit)
    assert all(numbers[name] == 0.0 for name in numbers if name not in ("n", "status"))
    if np.isfinite(values).all():
        without_zeros = values[values != 0.0]
        if without_zeros.size == values.size:
            assert fit_stable(sketch_from_values(values)).status is status


def test_one_value_out_of_all_proportion_is_the_heaviest_tail() -> None:
    fit = fit_stable(np.append(np.random.default_rng(4).normal(size=59), 1e300))
    assert fit.status is Status.OK
    assert fit.alpha == 0.5


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0.0, 1.0, 60),
        np.geomspace(1e-44, 1e30, 99),
        np.geomspace(1e-320, 1e-308, 99),
        np.append(np.linspace(-1.0, 1.0, 99), 1e308),
    ],
)
def test_strange_but_finite_values_never_give_nan(values: np.ndarray) -> None:
    fit = fit_stable(values)
    assert all(np.isfinite(value) for name, value in dataclasses.asdict(fit).items() if name != "status")
