"""The shipped table of stable densities against integrated ones, and fits on it against fits on integrals."""

import numpy as np
import pytest

from gnoise.stats import stable_fit
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_curve import HIGHEST_ALPHA, skewed_curve
from gnoise.stats.stable_fit import fit_stable
from gnoise.stats.stable_law import stable_pdf
from gnoise.stats.stable_table import HIGHEST_TABLED_BETA, PANELS, alpha_at, beta_at, peak, tabled_curve

LAWS = [
    (0.7, -HIGHEST_TABLED_BETA),
    (0.75, 0.5),
    (1.0, 0.0),
    (1.0, -0.8),
    (1.2, 0.3),
    (1.3, 0.9),
    (1.7, -0.4),
    (HIGHEST_ALPHA, 0.6),
]


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
def test_tabled_density_is_the_density(alpha: float, beta: float) -> None:
    y = np.linspace(-9.0, 9.0, 181)
    x = np.sinh(y)
    pdf, level = stable_pdf(x, alpha, beta), tabled_curve(alpha, beta)(x)[0]
    error = np.abs(level - np.log(pdf))
    assert error @ (pdf * np.cosh(y)) * (y[1] - y[0]) < 1e-4  # on average over the law
    assert np.max(error[pdf > 1e-3]) < 2e-3


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
def test_what_the_table_errs_by_is_lost_in_the_standard_errors(alpha: float, beta: float) -> None:
    y = np.linspace(-20.0, 20.0, 2001)
    x = np.sinh(y)
    exact, table = skewed_curve(alpha, beta, 20.0, 20.0)(x), tabled_curve(alpha, beta)(x)
    mass = np.exp(exact[0]) * np.cosh(y) * (y[1] - y[0])
    true, found = (np.stack([rows[1], rows[2], -1.0 - x * rows[3], -rows[3]]) for rows in (exact, table))
    information = (true * mass) @ true.T
    moved = np.linalg.solve(information, (found - true) @ mass)
    of_a_million = np.abs(moved) * np.sqrt(1e6 * np.diag(information))
    assert of_a_million.max() < 0.05
    spread = np.sqrt(((found - true) ** 2) @ mass / np.diag(information))
    assert spread.max() < 0.03


@pytest.mark.parametrize(("alpha", "beta"), LAWS[:-1])
def test_mirrored_laws_are_mirror_images(alpha: float, beta: float) -> None:
    x = np.sinh(np.linspace(-30.0, 30.0, 61))
    here, there = tabled_curve(alpha, beta)(x), tabled_curve(alpha, -beta)(-x)
    np.testing.assert_allclose(here, there * np.array([[1.0], [1.0], [-1.0], [-1.0]]), rtol=1e-7, atol=1e-7)


def test_tails_are_powers_to_the_farthest() -> None:
    far = np.array([1e20, 1e40])
    level, by_alpha, _, by_x = tabled_curve(1.3, 0.5)(far)
    assert np.diff(level)[0] == pytest.approx(-2.3 * np.log(1e20), rel=1e-6)
    assert np.diff(by_alpha)[0] == pytest.approx(-np.log(1e20), rel=1e-6)
    np.testing.assert_allclose(by_x * far, -2.3, rtol=1e-4)


def test_places_reach_from_end_to_end() -> None:
    for panel in range(len(PANELS) - 1):
        assert [alpha_at(-1.0, panel), alpha_at(1.0, panel)] == pytest.approx(PANELS[panel : panel + 2])
    assert (beta_at(-1.0), beta_at(0.0), beta_at(1.0)) == pytest.approx((-0.95, 0.0, 0.95))


@pytest.mark.parametrize(("alpha", "beta"), [(0.8, 0.9), (1.0, 0.1), (1.5, -0.5), (1.9, 0.6)])
def test_peak_is_where_the_density_is_highest(alpha: float, beta: float) -> None:
    x = np.linspace(-1.5, 1.5, 601)
    place, by_alpha, by_beta = peak(alpha, beta)
    assert place == pytest.approx(x[np.argmax(stable_pdf(x, alpha, beta))], abs=0.03)
    assert by_alpha == pytest.approx((peak(alpha + 1e-6, beta)[0] - place) / 1e-6, abs=1e-4)
    assert by_beta == pytest.approx((peak(alpha, beta + 1e-6)[0] - place) / 1e-6, abs=1e-4)


@pytest.mark.parametrize(("alpha", "beta", "n"), [(0.8, 0.5, 10_000), (1.0, 0.0, 300), (1.5, -0.7, 50_000)])
def test_fits_on_the_table_are_fits_on_integrals(
    alpha: float, beta: float, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = stable_rvs(alpha, beta, n, np.random.default_rng(21))
    looked_up = fit_stable(values)
    monkeypatch.setattr(stable_fit, "_TABLED", 0)
    integrated = fit_stable(values)
    assert looked_up.loglik == pytest.approx(integrated.loglik, abs=0.05 + 1e-5 * n)
    for name in ("alpha", "beta", "gamma", "delta"):
        stderr = getattr(integrated, f"{name}_stderr")
        assert getattr(looked_up, name) == pytest.approx(getattr(integrated, name), abs=0.05 * stderr)
        assert getattr(looked_up, f"{name}_stderr") == pytest.approx(stderr, rel=1e-2)
