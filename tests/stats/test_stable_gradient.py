"""Densities on shared contours against the path integrals of each point, and their slopes against differences."""

import numpy as np
import pytest

from gnoise.stats.stable_curve import HIGHEST_ALPHA, skewed_curve, symmetric_curve
from gnoise.stats.stable_gradient import gradient
from gnoise.stats.stable_law import stable_pdf

LAWS = [(0.5, 0.2), (0.6, 0.999), (0.9, -0.999), (1.0, 0.1), (1.0, 0.999), (1.0001, 0.5), (1.5, -0.5), (1.999, 0.5)]
Y = np.concatenate([np.linspace(-4.0, 4.0, 37), [-20.0, -9.0, -6.0, 5.0, 7.0, 14.0]])


@pytest.mark.parametrize(("alpha", "beta"), LAWS)
def test_density_and_slopes_are_those_of_the_law(alpha: float, beta: float) -> None:
    x = np.sinh(Y)
    law, pdf = gradient(x, alpha, beta), stable_pdf(x, alpha, beta)
    np.testing.assert_allclose(law.pdf, pdf, rtol=1e-6, atol=1e-30)
    step = 1e-5
    ahead = step if alpha < 1.5 else -step
    by_alpha = (stable_pdf(x, alpha + ahead, beta) - pdf) / ahead
    np.testing.assert_allclose(law.by_alpha, by_alpha, rtol=1e-2, atol=1e-4)
    by_beta = (stable_pdf(x, alpha, beta + step) - stable_pdf(x, alpha, beta - step)) / (2.0 * step)
    np.testing.assert_allclose(law.by_beta, by_beta, rtol=1e-4, atol=1e-6)
    stretch = step * np.cosh(Y)
    by_x = (stable_pdf(x + stretch, alpha, beta) - stable_pdf(x - stretch, alpha, beta)) / (2.0 * stretch)
    np.testing.assert_allclose(law.by_x, by_x, rtol=1e-4, atol=1e-6)


def test_points_do_not_depend_on_their_neighbours() -> None:
    x = np.sinh(np.linspace(-4.0, 4.0, 200))
    together = np.stack(gradient(x, 0.8, 0.9))
    apart = np.concatenate([np.stack(gradient(x[at : at + 1], 0.8, 0.9)) for at in range(0, 200, 25)], axis=1)
    np.testing.assert_allclose(together[:, ::25], apart, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.5, 0.83, 1.0, 1.4, 1.7, 1.95, HIGHEST_ALPHA])
def test_symmetric_curve_is_the_log_density_to_the_farthest_tail(alpha: float) -> None:
    y = np.linspace(-60.0, 60.0, 121)
    level, by_alpha, by_beta, by_x = symmetric_curve(alpha)(np.sinh(y))
    by_y = by_x * np.cosh(y)
    np.testing.assert_allclose(level, np.log(stable_pdf(np.sinh(y), alpha, 0.0)), rtol=0.0, atol=3e-3)
    np.testing.assert_array_equal(by_beta, 0.0)
    np.testing.assert_allclose(by_y, -by_y[::-1], atol=1e-9)
    np.testing.assert_allclose(by_alpha, by_alpha[::-1], atol=1e-9)
    np.testing.assert_allclose(by_y[:15], 1.0 + alpha, rtol=1e-3)


@pytest.mark.parametrize("alpha", [0.6, 1.3, 1.9])
def test_both_curves_agree_where_beta_is_0(alpha: float) -> None:
    x = np.sinh(np.linspace(-9.0, 9.0, 301))
    skewed, symmetric = skewed_curve(alpha, 0.0, 10.0, 10.0)(x), symmetric_curve(alpha)(x)
    np.testing.assert_allclose(symmetric[[0, 1, 3]], skewed[[0, 1, 3]], rtol=1e-3, atol=1e-2)
