"""Every public function on plain arrays, given data it cannot use: a status with advice, or one clear error."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from gnoise.errors import UserError
from gnoise.records import Status
from gnoise.stats import (
    compare_laws,
    fit_extremes,
    fit_law,
    fit_log_moment,
    fit_stable,
    law_survival,
    localize,
    sketch_from_values,
    stable_cdf,
    stable_pdf,
    stable_quantile,
    stable_rvs,
    stable_sf,
)
from gnoise.stats.plain import plain_number
from gnoise.stats.sketch import abs_quantiles, coarse_bins, quantiles

FITS: dict[str, Callable] = {
    "fit_stable": fit_stable,
    "fit_stable of a sketch": lambda values: fit_stable(sketch_from_values(values)),
    "fit_extremes": fit_extremes,
    "fit_law": lambda values: fit_law(values, "student_t"),
    "fit_law of a sketch": lambda values: fit_law(sketch_from_values(values), "student_t"),
    "compare_laws": lambda values: compare_laws([values] * 3),
    "fit_log_moment": lambda values: fit_log_moment(values, block_size=10),
}


ON_VALUES = {name: fit for name, fit in FITS.items() if "sketch" not in name}


def _normal(n: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(n)


DEGENERATE: dict[str, tuple[np.ndarray, set[Status]]] = {
    "all equal": (np.full(1000, 3.7), {Status.CONSTANT}),
    "all zero": (np.zeros(1000), {Status.ALL_ZERO}),
    "two sizes": (np.where(_normal() < 0.0, 1.0, 2.0), {Status.FEW_DISTINCT}),
    "two signs": (np.where(_normal() < 0.0, -1.0, 1.0), {Status.FEW_DISTINCT, Status.CONSTANT}),
    "four values": (np.random.default_rng(0).choice([-2.0, -1.0, 1.0, 2.0], 1000), {Status.FEW_DISTINCT}),
    "16 values": (_normal(16), {Status.TOO_FEW_VALUES}),
    "NaN and Inf": (
        np.where(_normal() > 2.0, np.nan, np.where(_normal() < -2.0, np.inf, _normal())),
        {Status.NON_FINITE},
    ),
}
USABLE: dict[str, np.ndarray] = {
    "denormal": 1e-310 * _normal(),
    "1e-200": 1e-200 * _normal(),
    "1e-30": 1e-30 * _normal(),
    "1e30": 1e30 * _normal(),
    "1e300": 1e300 * _normal(),
    "wider than float32": np.sign(_normal()) * np.exp(30.0 * np.random.default_rng(1).standard_normal(1000)),
    "float16": _normal().astype(np.float16),
    "int8": np.random.default_rng(0).integers(-100, 100, 1000).astype(np.int8),
    "big-endian": _normal().astype(">f8"),
}
NOT_NUMBERS: dict[str, object] = {
    "text": ["a", "b"],
    "objects": np.array([1.0, None] * 100, dtype=object),
    "ragged": [[1.0, 2.0], [3.0]],
    "complex": 1j * _normal(),
    "masked": np.ma.masked_array(_normal(), _normal() > 0.0),
}


def _numbers(result: object) -> list[float]:
    if is_dataclass(result) and not isinstance(result, type):
        return [number for field in fields(result) for number in _numbers(getattr(result, field.name))]
    return [float(result)] if isinstance(result, float | np.floating) else []


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())
@pytest.mark.parametrize(("values", "expected"), DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_data_have_a_status_with_advice(fit: Callable, values: np.ndarray, expected: set[Status]) -> None:
    result = fit(values)
    assert result.status in expected
    assert result.status.advice
    assert np.isfinite(_numbers(result)).all()


@pytest.mark.parametrize("fit", ON_VALUES.values(), ids=ON_VALUES.keys())
@pytest.mark.parametrize("values", USABLE.values(), ids=USABLE.keys())
def test_any_scale_and_number_type_is_fitted(fit: Callable, values: np.ndarray) -> None:
    result = fit(values)
    assert result.status in (Status.OK, Status.NOT_CONVERGED)
    assert np.isfinite(_numbers(result)).all()


@pytest.mark.parametrize("fit", ON_VALUES.values(), ids=ON_VALUES.keys())
def test_lists_are_values(fit: Callable) -> None:
    assert _numbers(fit(_normal().tolist())) == _numbers(fit(_normal()))


@pytest.mark.parametrize("fit", [*FITS.values(), localize], ids=[*FITS.keys(), "localize"])
@pytest.mark.parametrize("values", NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_what_is_not_real_numbers_is_refused(fit: Callable, values: object) -> None:
    with pytest.raises(UserError, match=r"expected .*; try "):
        fit(values)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-100, 1e100, 1e300])
def test_localization_does_not_depend_on_scale(scale: float) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 20, 30))
    verdict, scaled = localize(noise).verdict, localize(scale * noise).verdict
    assert scaled.answer == verdict.answer
    assert scaled.p_value == pytest.approx(verdict.p_value, rel=1e-6)


@pytest.mark.parametrize(
    ("noise", "status"),
    [
        (np.zeros((3, 20, 30)), Status.ALL_ZERO),
        (np.ones((3, 20, 30)), Status.CONSTANT),
        (np.eye(1, 600).reshape(20, 30), Status.ONE_LINE),
        (np.full((3, 20, 30), np.nan), Status.NON_FINITE),
        (np.ones((3, 1, 30)), Status.ONE_LINE),
    ],
)
def test_matrices_without_an_answer_say_why(noise: np.ndarray, status: Status) -> None:
    found = localize(noise)
    assert (found.verdict.answer, found.verdict.status, found.typical) == (None, status, None)


def test_a_wholly_silent_block_does_not_carry_a_comparison() -> None:
    blocks = [np.zeros(100)] * 7
    assert compare_laws([*blocks, _normal()]).status is Status.TOO_FEW_DRAWS
    assert compare_laws([*blocks, _normal(), _normal(300), _normal(400)]).status is Status.OK


@pytest.mark.parametrize("function", [stable_pdf, stable_cdf, stable_sf], ids=["pdf", "cdf", "sf"])
@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.5, 1.0), (0.7, -1.0), (1.0, 0.0), (1.0, 1.0), (1.0, -1.0), (1.5, 0.3), (2.0, 0.0)]
)
def test_the_ends_of_the_line_are_limits(function: Callable, alpha: float, beta: float) -> None:
    ends = {"stable_pdf": [0.0, 0.0, 0.0, 0.0], "stable_cdf": [0.0, 0.0, 1.0, 1.0], "stable_sf": [1.0, 1.0, 0.0, 0.0]}
    far = function([-np.inf, -1e308, 1e308, np.inf], alpha, beta, gamma=1e-10)
    np.testing.assert_allclose(far, ends[function.__name__], atol=1e-150)


def test_light_tails_are_nothing_far_out() -> None:
    assert stable_pdf([-1e10, -1e5], 1.0, 1.0).tolist() == [0.0, 0.0]
    assert stable_cdf(1e5, 1.0, -1.0) == 1.0
    assert stable_quantile([0.0, 1.0], 0.7, 1.0)[1] == np.inf


@pytest.mark.parametrize("value", [[1.2, 1.5], "1.5", 1j])
def test_a_parameter_is_one_number(value: object) -> None:
    with pytest.raises(UserError, match=r"expected .*; try "):
        plain_number("alpha", value)
    assert plain_number("alpha", np.float32(1.5)) == 1.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: stable_pdf("a", 1.5, 0.0),
        lambda: stable_quantile("a", 1.5, 0.0),
        lambda: stable_rvs(0.0, 0.0, 3, np.random.default_rng(0)),
        lambda: stable_rvs(1.5, 2.0, 3, np.random.default_rng(0)),
        lambda: stable_rvs(1.5, 0.0, 3, np.random.default_rng(0), gamma=-1.0),
        lambda: quantiles(sketch_from_values([0.0]), [0.5]),
        lambda: abs_quantiles(sketch_from_values([np.nan]), [0.5]),
        lambda: quantiles(sketch_from_values(_normal()), [50.0]),
        lambda: coarse_bins(sketch_from_values([])),
        lambda: coarse_bins(sketch_from_values(_normal()), bins=1),
        lambda: compare_laws(np.array(1.0)),
        lambda: fit_law(_normal(), "gaussian", scale_values=0),
        lambda: fit_log_moment(_normal(), block_size=1),
    ],
)
def test_bad_calls_say_what_to_try(call: Callable) -> None:
    with pytest.raises(UserError, match=r"expected .*; try "):
        call()


def test_survival_keeps_the_shape_it_is_given() -> None:
    fit = fit_law(_normal(), "student_t")
    assert law_survival(fit, 0.0) == 1.0
    assert law_survival(fit, [[0.5, 1.0], [2.0, 1e300]]).shape == (2, 2)
    assert np.all(np.diff(law_survival(fit, [0.5, 1.0, 2.0, 4.0])) < 0.0)


def test_values_wider_than_any_stable_law_do_not_settle() -> None:
    values = np.sign(_normal()) * np.exp(60.0 * np.random.default_rng(1).standard_normal(1000))
    fit = fit_stable(values)
    assert (fit.alpha, fit.status) == (0.0, Status.NOT_CONVERGED)
