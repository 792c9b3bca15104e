"""Rival laws: each is itself against references, wins on its own values, and survives a measured scale."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from gnoise.errors import UserError
from gnoise.quantities import QUESTIONS
from gnoise.records import Status
from gnoise.stats import (
    LAWS,
    compare_laws,
    fit_law,
    law_survival,
    sketch_from_values,
    stable_rvs,
    stable_sf,
)
from gnoise.stats.laws.law import Law
from gnoise.stats.laws.table import GRID, evaluate, tabulate

BLOCKS = 8
BY_NAME = {law.name: law for law in LAWS}
every_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _mixed(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n) * np.where(rng.random(n) < 0.03, 5.0, 1.0)


def _rare_cauchy(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n) + (rng.random(n) < 0.03) * rng.standard_cauchy(n)


def _power(power: float) -> Draw:
    return lambda rng, n: rng.gamma(1.0 / power, 1.0, n) ** (1.0 / power) * rng.choice([-1.0, 1.0], n)


PLANTED: dict[str, tuple[Draw, set[str]]] = {
    "Gaussian": (lambda rng, n: rng.standard_normal(n), {"gaussian"}),
    "stable 2": (lambda rng, n: stable_rvs(2.0, 0.0, n, rng), {"gaussian"}),
    "Cauchy": (lambda rng, n: rng.standard_cauchy(n), {"cauchy"}),
    "Student t(1)": (lambda rng, n: rng.standard_t(1.0, n), {"cauchy"}),
    "Laplace": (lambda rng, n: rng.laplace(size=n), {"laplace"}),
    "generalised Gaussian 1": (_power(1.0), {"laplace"}),
    "generalised Gaussian 0.7": (_power(0.7), {"generalised_gaussian"}),
    "generalised Gaussian 3": (_power(3.0), {"generalised_gaussian"}),
    "Student t(3)": (lambda rng, n: rng.standard_t(3.0, n), {"student_t"}),
    "Voigt": (lambda rng, n: rng.standard_normal(n) + 0.1 * rng.standard_cauchy(n), {"voigt"}),
    "3% five times as wide": (_mixed, {"contaminated"}),
    "3% plus Cauchy": (_rare_cauchy, {"contaminated", "voigt"}),
    "stable 1.5": (lambda rng, n: stable_rvs(1.5, 0.0, n, rng), {"stable"}),
    "stable 1.9": (lambda rng, n: stable_rvs(1.9, 0.0, n, rng), {"stable"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_the_planted_law_wins(planted: str) -> None:
    draw, right = PLANTED[planted]
    for seed in range(3):
        blocks = np.split(draw(np.random.default_rng([seed, 1]), 100_000), BLOCKS)
        found = compare_laws(blocks)
        assert found.answer in right, (seed, found.answer, found.runner_up, found.margin)
        assert (found.p_value > 0.05) == (found.answer == "gaussian")


REFERENCES: list[tuple[str, dict[str, float], Callable[[np.ndarray], np.ndarray]]] = [
    ("gaussian", {}, lambda x: 2.0 * scipy.stats.norm.sf(x)),
    ("cauchy", {}, lambda x: 2.0 * scipy.stats.cauchy.sf(x)),
    ("laplace", {}, lambda x: 2.0 * scipy.stats.laplace.sf(x)),
    ("student_t", {"nu": 0.7}, lambda x: 2.0 * scipy.stats.t.sf(x, 0.7)),
    ("student_t", {"nu": 3.3}, lambda x: 2.0 * scipy.stats.t.sf(x, 3.3)),
    ("student_t", {"nu": 120.0}, lambda x: 2.0 * scipy.stats.t.sf(x, 120.0)),
    ("generalised_gaussian", {"power": 0.4}, lambda x: 2.0 * scipy.stats.gennorm.sf(x, 0.4)),
    ("generalised_gaussian", {"power": 5.0}, lambda x: 2.0 * scipy.stats.gennorm.sf(x, 5.0)),
    (
        "contaminated",
        {"share": 0.07, "ratio": 4.0},
        lambda x: 2.0 * (0.93 * scipy.stats.norm.sf(x) + 0.07 * scipy.stats.norm.sf(x / 4.0)),
    ),
    ("stable", {"alpha": 0.77}, lambda x: 2.0 * stable_sf(x, 0.77, 0.0)),
    ("stable", {"alpha": 1.05}, lambda x: 2.0 * stable_sf(x, 1.05, 0.0)),
    ("stable", {"alpha": 1.6}, lambda x: 2.0 * stable_sf(x, 1.6, 0.0)),
    ("stable", {"alpha": 1.99}, lambda x: 2.0 * stable_sf(x, 1.99, 0.0)),
]


@pytest.mark.parametrize(("name", "shapes", "reference"), REFERENCES)
def test_a_table_agrees_with_the_law(
    name: str, shapes: dict[str, float], reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    law = BY_NAME[name]
    x = np.geomspace(1e-3, 1e4, 60)
    expected = reference(x)
    tabled = evaluate(tabulate(law, None), np.log(x), _coordinates(law, shapes))
    seen = expected > 1e-250
    np.testing.assert_allclose(tabled.log[seen], np.log(expected[seen]), rtol=3e-4, atol=1e-9)


def test_voigt_agrees_with_the_sum_of_its_parts() -> None:
    law, part = BY_NAME["voigt"], 0.2
    x = np.array([0.1, 0.5, 1.0, 3.0, 10.0, 300.0])
    z = np.arange(-9.0, 9.0, 0.002)
    outer = scipy.stats.cauchy.sf((x[:, None] - (1.0 - part) * z) / part)
    expected = 2.0 * 0.002 * outer @ scipy.stats.norm.pdf(z)
    tabled = evaluate(tabulate(law, None), np.log(x), _coordinates(law, {"cauchy_part": part}))
    np.testing.assert_allclose(np.exp(tabled.log), expected, rtol=1e-4)


@every_law
def test_gradients_are_derivatives(law: Law) -> None:
    table, y = tabulate(law, 16), np.linspace(-3.0, 3.0, 25)
    shapes = np.array([0.4 * shape.grid[0] + 0.6 * shape.grid[-1] for shape in law.shapes])
    gradient = evaluate(table, y, shapes).gradient
    step = 1e-5
    for place in range(gradient.shape[0]):
        by_y = step * (place == 0)
        by_shape = step * (np.arange(shapes.size) == place - 1)
        ahead, behind = evaluate(table, y + by_y, shapes + by_shape), evaluate(table, y - by_y, shapes - by_shape)
        np.testing.assert_allclose((ahead.log - behind.log) / (2.0 * step), gradient[place], rtol=1e-4, atol=1e-6)


@every_law
def test_every_law_falls_and_stays_finite(law: Law) -> None:
    for scale_values in (None, 4, 64):
        table = tabulate(law, scale_values)
        for corner in (0, -1):
            log = evaluate(table, GRID, np.array([shape.grid[corner] for shape in law.shapes])).log
            assert np.isfinite(log).all()
            assert (np.diff(log) < 0.0).all()


def test_special_cases_are_laws() -> None:
    for law in LAWS:
        assert set(law.special_cases) <= set(BY_NAME)
        assert all(BY_NAME[name].n_params < law.n_params for name in law.special_cases)
    for question in ("tails_entries", "tails_draws"):
        assert set(QUESTIONS[question].answers) == set(BY_NAME)


@pytest.mark.parametrize(
    ("law", "draw", "truth"),
    [
        ("student_t", lambda rng, n: 3.0 * rng.standard_t(4.0, n), {"scale": 3.0, "nu": 4.0}),
        ("contaminated", lambda rng, n: _mixed(rng, n), {"scale": 1.0, "share": 0.03, "ratio": 5.0}),
        ("stable", lambda rng, n: stable_rvs(1.6, 0.0, n, rng, gamma=2.0), {"scale": 2.0, "alpha": 1.6}),
        ("generalised_gaussian", _power(1.5), {"scale": 1.0, "power": 1.5}),
        (
            "voigt",
            lambda rng, n: 0.8 * rng.standard_normal(n) + 0.2 * rng.standard_cauchy(n),
            {"scale": 1.0, "cauchy_part": 0.2},
        ),
    ],
)
def test_parameters_are_found_behind_a_measured_scale(law: str, draw: Draw, truth: dict[str, float]) -> None:
    """Each value is divided by the geometric mean of 16 others; the fit is of the noise, not of the quotient."""
    rng = np.random.default_rng(3)
    values = draw(rng, 17 * 60_000).reshape(17, -1)
    geometric = np.exp(np.log(np.abs(values[1:])).mean(0))
    unit = float(np.exp(np.log(geometric).mean()))
    found = fit_law(values[0] / geometric * unit, law, scale_values=16)
    assert found.status is Status.OK
    assert found.params == {name: pytest.approx(value, rel=0.12) for name, value in truth.items()}
    assert found.ks < 2.0 / np.sqrt(found.n)


@pytest.mark.parametrize("scale_values", [4, 16, 32])
def test_gaussian_noise_over_a_measured_scale_is_gaussian(scale_values: int) -> None:
    """Taken as it stands the quotient is no Gaussian; known for what it is, it is."""
    values = np.random.default_rng(4).standard_normal((scale_values + 1, 80_000))
    blocks = np.split(values[0] / np.exp(np.log(np.abs(values[1:])).mean(0)), 4)
    assert compare_laws(blocks, scale_values=scale_values).answer == "gaussian"
    assert compare_laws(blocks).answer != "gaussian"


def test_units_and_signs_and_order_do_not_matter() -> None:
    values = np.random.default_rng(5).standard_t(3.0, 20_000)
    one = fit_law(values, "student_t")
    other = fit_law(-1e-200 * values[::-1], "student_t")
    assert other.params["nu"] == pytest.approx(one.params["nu"], rel=2e-3)
    assert other.params["scale"] == pytest.approx(1e-200 * one.params["scale"], rel=2e-3)
    sketched = fit_law(sketch_from_values(values), "student_t")
    assert sketched.params["nu"] == pytest.approx(one.params["nu"], rel=2e-3)
    centred = fit_law(values + 7.0, "student_t", centre=True)
    assert centred.params["nu"] == pytest.approx(one.params["nu"], rel=0.02)


def test_survival_of_a_fit() -> None:
    values = np.random.default_rng(6).laplace(scale=2.0, size=50_000)
    fit = fit_law(values, "laplace")
    x = np.array([-1.0, 0.0, 1.0, 5.0, 20.0])
    np.testing.assert_allclose(law_survival(fit, x), np.exp(-np.maximum(x, 0.0) / fit.params["scale"]), rtol=1e-4)


def test_dependent_values_count_for_less() -> None:
    """Eight blocks whose loudness varies."""
    rng = np.random.default_rng(7)
    free = rng.standard_t(5.0, (8, 20_000))
    bound = free * np.exp(0.6 * rng.standard_normal((8, 1)))
    assert compare_laws(list(free)).n_effective > 0.2 * free.size
    assert compare_laws(list(bound)).n_effective < 0.1 * bound.size


def test_one_value_is_not_a_law() -> None:
    values = np.random.default_rng(8).standard_normal((8, 10_000))
    values[3, 17] = 1e12
    assert compare_laws(list(values)).answer == "gaussian"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros(100), Status.ALL_ZERO),
        (np.full(100, 0.3), Status.CONSTANT),
        (np.arange(11.0), Status.TOO_FEW_VALUES),
        (np.empty(0), Status.TOO_FEW_VALUES),
        (np.array([1.0, np.nan] * 50), Status.NON_FINITE),
        (np.array([1.0, np.inf] * 50), Status.NON_FINITE),
    ],
)
@every_law
def test_bad_values_give_a_status(law: Law, values: np.ndarray, status: Status) -> None:
    found = fit_law(values, law.name)
    assert (found.status, found.params) == (status, {})
    assert compare_laws([values] * 4).status is status
    with pytest.raises(UserError, match="try other values"):
        law_survival(found, np.ones(1))


@pytest.mark.parametrize(
    "values",
    [
        np.append(np.linspace(0.9, 1.1, 200), 1e30),
        1e-40 * np.random.default_rng(9).standard_normal(300),
        np.random.default_rng(10).standard_cauchy(300) ** 9,
        np.exp(np.linspace(-80.0, 80.0, 300)),
    ],
)
@every_law
def test_odd_values_give_finite_numbers(law: Law, values: np.ndarray) -> None:
    found = fit_law(values, law.name)
    assert found.status in (Status.OK, Status.NOT_CONVERGED)
    assert np.isfinite([*found.params.values(), found.loglik, found.ks, found.ad]).all()


@pytest.mark.parametrize(
    "values",
    [np.repeat([-1.0, 1.0, 3.0], 100), np.append(np.full(1000, 1.0), np.full(2, 1e-30))],
    ids=["three values", "one value and two others"],
)
@every_law
def test_repeated_values_follow_no_law(law: Law, values: np.ndarray) -> None:
    found = fit_law(values, law.name)
    assert (found.params, found.status) == ({}, Status.FEW_DISTINCT)


def test_bad_calls_say_what_to_try() -> None:
    values = np.random.default_rng(11).standard_normal(100)
    with pytest.raises(UserError, match="gaussian"):
        fit_law(values, "normal")
    with pytest.raises(UserError, match="centre=False"):
        fit_law(sketch_from_values(values), "gaussian", centre=True)
    assert compare_laws([values, values]).status is Status.TOO_FEW_DRAWS


def _coordinates(law: Law, shapes: dict[str, float]) -> np.ndarray:
    return np.array([shape.forward(shapes[shape.name]) for shape in law.shapes])
