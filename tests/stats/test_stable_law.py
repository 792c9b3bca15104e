"""The stable law against 30-digit references, closed forms, its own symmetries, and bad calls."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma as gamma_function

from gnoise.errors import UserError
from gnoise.stats.stable_law import stable_cdf, stable_pdf, stable_quantile, stable_sf

REFERENCE = Path(__file__).parent / "stable_reference.csv"
LAWS = [(0.5, 0.3), (0.7, -1.0), (0.999, 0.9), (1.0, -0.4), (1.0, 1.0), (1.3, 0.0), (1.9, -1.0), (1.99, 0.8)]


def _reference() -> list[tuple[float, ...]]:
    with REFERENCE.open() as file:
        rows = csv.DictReader(file)
        return [tuple(float(row[name]) for name in ("alpha", "beta", "x", "pdf", "sf", "cdf")) for row in rows]


def test_reference_spreads_over_the_laws() -> None:
    rows = _reference()
    assert len(rows) >= 200
    assert sum(abs(row[0] - 1.0) <= 1e-3 for row in rows) >= 50
    assert {abs(row[2]) for row in rows} >= {0.003, 1e8}


@pytest.mark.parametrize("function", [stable_pdf, stable_sf, stable_cdf], ids=["pdf", "sf", "cdf"])
def test_every_reference_value_is_met_to_eleven_digits(function) -> None:
    column = {stable_pdf: 3, stable_sf: 4, stable_cdf: 5}[function]
    rows = np.array(_reference())
    for alpha, beta in np.unique(rows[:, :2], axis=0):
        here = rows[(rows[:, 0] == alpha) & (rows[:, 1] == beta) & (rows[:, column] > 1e-290)]
        values = function(here[:, 2], float(alpha), float(beta))
        np.testing.assert_allclose(values, here[:, column], rtol=1e-11, atol=0.0, err_msg=f"{alpha} {beta}")


def test_gaussian_cauchy_and_levy_are_closed_forms() -> None:
    x = np.linspace(-6.0, 9.0, 31)
    gaussian, cauchy, levy = stats.norm(0.5, 2.0 * np.sqrt(2.0)), stats.cauchy(0.5, 2.0), stats.levy(0.5 - 2.0, 2.0)
    for law, (alpha, beta) in ((gaussian, (2.0, 0.7)), (cauchy, (1.0, 0.0)), (levy, (0.5, 1.0))):
        np.testing.assert_allclose(stable_pdf(x, alpha, beta, gamma=2.0, delta=0.5), law.pdf(x), rtol=1e-12)
        np.testing.assert_allclose(stable_sf(x, alpha, beta, gamma=2.0, delta=0.5), law.sf(x), rtol=1e-12)
        np.testing.assert_allclose(stable_cdf(x, alpha, beta, gamma=2.0, delta=0.5), law.cdf(x), rtol=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
def test_density_is_the_slope_of_both_tails(alpha: float, beta: float) -> None:
    x, step = np.array([-2.5, -0.3, 0.4, 3.0]), 1e-4
    pdf = stable_pdf(x, alpha, beta)
    below = (stable_cdf(x + step, alpha, beta) - stable_cdf(x - step, alpha, beta)) / (2 * step)
    above = (stable_sf(x - step, alpha, beta) - stable_sf(x + step, alpha, beta)) / (2 * step)
    np.testing.assert_allclose(below, pdf, rtol=1e-5, atol=1e-11)
    np.testing.assert_allclose(above, pdf, rtol=1e-5, atol=1e-11)
    np.testing.assert_allclose(stable_pdf(-x, alpha, -beta), pdf, rtol=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
def test_quantiles_invert_both_tails(alpha: float, beta: float) -> None:
    q = np.array([1e-12, 1e-4, 0.2, 0.5, 0.8])
    x = stable_quantile(q, alpha, beta, gamma=3.0, delta=-1.0)
    assert np.all(np.diff(x) > 0.0)
    np.testing.assert_allclose(stable_cdf(x, alpha, beta, gamma=3.0, delta=-1.0), q, rtol=1e-11)
    mirrored = stable_quantile(q, alpha, -beta, gamma=3.0, delta=1.0)
    np.testing.assert_allclose(stable_sf(-mirrored, alpha, beta, gamma=3.0, delta=-1.0), q, rtol=1e-11)


def test_nothing_jumps_at_alpha_one() -> None:
    x = np.array([-30.0, -1.0, 0.0, 2.0, 500.0])
    at_one = stable_pdf(x, 1.0, 0.6)
    for gap in (1e-12, -1e-12):
        np.testing.assert_allclose(stable_pdf(x, 1.0 + gap, 0.6), at_one, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.8, 1.5])
def test_s1_has_its_mean_or_edge_at_delta(alpha: float) -> None:
    shift = 0.5 * 2.0 * np.tan(np.pi * alpha / 2.0)
    x = np.array([-1.0, 0.3, 4.0])
    s1 = stable_pdf(x, alpha, 0.5, gamma=2.0, delta=0.1, parameterization="S1")
    np.testing.assert_allclose(s1, stable_pdf(x, alpha, 0.5, gamma=2.0, delta=0.1 + shift), rtol=1e-12)
    edge = stable_quantile(np.array([0.0]), 0.8, 1.0, gamma=2.0, delta=0.1, parameterization="S1")
    np.testing.assert_allclose(edge, [0.1], rtol=1e-12)
    at_one = stable_cdf(x, 1.0, 0.5, gamma=2.0, parameterization="S1")
    np.testing.assert_allclose(at_one, stable_cdf(x, 1.0, 0.5, gamma=2.0, delta=2.0 / np.pi * np.log(2.0)), rtol=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.5), (1.0, 0.5), (1.7, -0.2)])
def test_far_tails_are_powers(alpha: float, beta: float) -> None:
    constant = gamma_function(alpha) * np.sin(np.pi * alpha / 2.0) / np.pi
    for x in (1e50, 1e90):
        assert stable_sf(x, alpha, beta) == pytest.approx(constant * (1.0 + beta) * x**-alpha, rel=1e-10)
        assert stable_cdf(-x, alpha, beta) == pytest.approx(constant * (1.0 - beta) * x**-alpha, rel=1e-10)
        assert stable_pdf(x, alpha, beta) == pytest.approx(alpha * constant * (1 + beta) * x ** (-1 - alpha), rel=1e-10)


def test_support_ends_and_odd_points() -> None:
    assert stable_pdf(-20.0, 0.8, 1.0) == 0.0
    assert stable_cdf(-20.0, 0.8, 1.0) == 0.0
    assert stable_sf(20.0, 0.8, -1.0) == 0.0
    x = np.array([[np.nan, np.inf], [-np.inf, 0.0]])
    np.testing.assert_array_equal(np.isnan(stable_pdf(x, 1.4, 0.2)), [[True, False], [False, False]])
    np.testing.assert_array_equal(stable_sf(x, 1.4, 0.2)[[0, 1], [1, 0]], [0.0, 1.0])
    np.testing.assert_array_equal(stable_quantile(np.array([0.0, 1.0]), 1.4, 0.2), [-np.inf, np.inf])
    assert stable_pdf(np.array([]), 1.4, 0.2).shape == (0,)
    assert stable_pdf(0.1, 1.4, 0.2).shape == ()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"alpha": 2.1}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"beta": -1.5}, "beta"),
        ({"gamma": 0.0}, "gamma"),
        ({"delta": np.inf}, "delta"),
    ],
)
def test_parameters_out_of_range_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=f"expected.*{named}.*try"):
        stable_pdf(0.0, **{"alpha": 1.5, "beta": 0.5, **wrong})


def test_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="probabilities"):
        stable_quantile(np.array([0.5, 2.0]), 1.5, 0.0)
