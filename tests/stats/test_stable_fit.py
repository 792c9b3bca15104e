"""The stable maximum-likelihood fit: truth within its own standard errors, scale, shift, odd data."""

import dataclasses

import numpy as np
import pytest

from gnoise.records import Status
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import StableFit, fit_stable
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
    fits = [fit_stable(stable_rvs(1.5, 0.3, 1000, rng)) for _ in range(24)]
    scores = np.array([_z_scores(fit, (1.5, 0.3, 1.0, 0.0)) for fit in fits])
    assert np.all(np.abs(scores.mean(axis=0)) < 3.5 / np.sqrt(24))
    assert np.all((scores.std(axis=0) > 0.55) & (scores.std(axis=0) < 1.5))


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
        (np.repeat([0.0, 1.0], [10, 90]), Status.CONSTANT),
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
        assert fit_stable(sketch_from_values(values.astype(np.float32))).status in (status, Status.TOO_FEW_VALUES)


@pytest.mark.parametrize(
    "values", [np.repeat([0.0, 1.0], 50), np.linspace(0.0, 1.0, 60), np.geomspace(1e-44, 1e30, 99)]
)
def test_strange_but_finite_values_never_give_nan(values: np.ndarray) -> None:
    fit = fit_stable(values)
    assert all(np.isfinite(value) for name, value in dataclasses.asdict(fit).items() if name != "status")
