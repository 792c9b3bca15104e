"""The averaging slope on laws whose slope is known, its intervals, the verdict on each law, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest

from gnoise.records import CoordinateSample, Estimate, Status, Verdict
from gnoise.stats.averaging import (
    averaging_curve,
    averaging_drift,
    averaging_slope,
    estimate_averaging,
    moving_coordinates,
    pair_noise,
)
from gnoise.stats.stable import stable_rvs
from gnoise.stats.statistic import Subject

Law = Callable[[np.random.Generator, int, int], np.ndarray]


def _sample(values: np.ndarray) -> CoordinateSample:
    sq_norms = np.square(values.astype(np.float64)).sum(axis=1)
    return CoordinateSample(np.arange(values.shape[1]), values, sq_norms, sq_norms)


def _findings(values: np.ndarray) -> tuple[Estimate, Estimate, Verdict]:
    slope, alpha, verdict = estimate_averaging(Subject(layer=None), _sample(values))
    assert isinstance(slope, Estimate)
    assert isinstance(alpha, Estimate)
    assert isinstance(verdict, Verdict)
    assert (slope.quantity, alpha.quantity) == ("averaging_slope", "alpha_averaging")
    assert verdict.question == "averaging"
    return slope, alpha, verdict


def _estimates(values: np.ndarray) -> tuple[Estimate, Estimate]:
    return _findings(values)[:2]


def _verdict(values: np.ndarray) -> Verdict:
    return _findings(values)[2]


def _stable(alpha: float) -> Law:
    return lambda rng, draws, coords: stable_rvs(alpha, 0.0, (draws, coords), rng)


def _gaussian(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    return rng.normal(size=(draws, coords))


def _unequal(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    return _gaussian(rng, draws, coords) * np.exp(2.0 * rng.normal(size=coords))


def _shared(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    """All coordinates of a draw share a random amount of one direction."""
    return _gaussian(rng, draws, coords) + rng.normal(size=(draws, 1)) * rng.normal(size=coords)


def _student(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    return rng.standard_t(3, size=(draws, coords))


def _student_22(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    return rng.standard_t(2.2, size=(draws, coords))


def _alike(law: Law) -> Law:
    """Coordinates in groups of eight that move together, each at its own scale."""
    return lambda rng, draws, coords: (
        np.repeat(law(rng, draws, coords // 8), 8, axis=1) * np.exp(rng.normal(size=coords))
    )


def _contaminated(rng: np.random.Generator, draws: int, coords: int) -> np.ndarray:
    rare = rng.random((draws, coords)) < 0.03
    return np.where(rare, 30.0 * rng.standard_cauchy((draws, coords)), _gaussian(rng, draws, coords))


@pytest.mark.parametrize("draws", [16, 48, 64])
@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (_gaussian, -0.5),
        (_unequal, -0.5),
        (_stable(1.5), -1 / 3),
        (_stable(1.0), 0.0),
        (_stable(1.8), -4 / 9),
    ],
    ids=["gaussian", "unequal", "stable 1.5", "cauchy", "stable 1.8"],
)
def test_slope_has_no_bias(law: Law, truth: float, draws: int) -> None:
    rng = np.random.default_rng(20)
    found = np.array([_estimates(law(rng, draws, 100))[0].value for _ in range(16)])
    error = found.std(ddof=1) / np.sqrt(found.size)
    assert abs(found.mean() - truth) < 4 * error
    assert error < 0.03


def test_one_gaussian_layer_reads_two() -> None:
    slope, alpha = _estimates(_gaussian(np.random.default_rng(2), 64, 1024) + 5.0)
    assert slope.value == pytest.approx(-0.5, abs=0.02)
    assert slope.n == 64
    assert alpha.value == pytest.approx(2.0, abs=0.05)
    assert alpha.high == 2.0


def test_stable_noise_keeps_its_index() -> None:
    rng = np.random.default_rng(3)
    for truth in (1.0, 1.5):
        _, alpha = _estimates(_stable(truth)(rng, 64, 512))
        assert alpha.value == pytest.approx(truth, abs=0.05)
        assert alpha.low is not None
        assert alpha.high is not None
        assert alpha.low < truth < alpha.high < 1.9


@pytest.mark.parametrize(("law", "words"), [(_student, "thin out"), (_contaminated, "take over")])
def test_a_slope_that_changes_gives_no_index(law: Law, words: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        slope, alpha = _estimates(law(rng, 64, 512))
        assert slope.value is not None
        assert (alpha.value, alpha.status) == (None, Status.NOT_CONSTANT_SLOPE)
        assert words in alpha.note


@pytest.mark.parametrize("law", [_gaussian, _unequal, _shared, _stable(1.5), _stable(1.0)])
def test_constant_slopes_are_seldom_refused(law: Law) -> None:
    rng = np.random.default_rng(5)
    refused = sum(_estimates(law(rng, 64, 64))[1].value is None for _ in range(40))
    assert refused <= 4  # of 40 at 1.5%: more than 4 less than one time in a thousand


@pytest.mark.parametrize(
    ("law", "truth"), [(_gaussian, -0.5), (_shared, -0.5), (_stable(1.5), -1 / 3), (_stable(1.0), 0.0)]
)
def test_intervals_cover(law: Law, truth: float) -> None:
    rng = np.random.default_rng(6)
    found = [_estimates(law(rng, 64, 64))[0] for _ in range(40)]
    covered = [e.low <= truth <= e.high for e in found if e.low is not None and e.high is not None]
    values, stderr = np.array([e.value for e in found]), np.array([e.stderr for e in found])
    assert len(covered) == 40
    assert sum(covered) >= 33  # of 40 at 95%: fewer less than one time in a thousand
    assert np.sqrt(np.mean(stderr**2)) == pytest.approx(values.std(ddof=1), rel=0.35)


def test_curve_agrees_with_plain_means_of_many_draws() -> None:
    """The slow way: plain means of disjoint groups, no signs, no standardising, of very many coordinates."""
    law = _stable(1.5)
    noise = pair_noise(law(np.random.default_rng(7), 64, 3000))
    curve = averaging_curve(noise)
    assert curve is not None
    assert curve.sizes.tolist() == [1, 2, 4, 8]
    flat = noise.reshape(32, -1)
    plain = [np.log2(np.median(np.abs(flat.reshape(32 // k, k, -1).mean(axis=1)))) for k in curve.sizes]
    assert np.diff(curve.spread[:, 0]) == pytest.approx(np.diff(plain), abs=0.04)


def test_units_and_the_mean_gradient_make_no_difference() -> None:
    values = _student(np.random.default_rng(8), 64, 64)
    slope, _ = _estimates(values)
    scaled, _ = _estimates(values * np.geomspace(1e-20, 1e20, 64))
    shifted, _ = _estimates(values + np.linspace(-3.0, 3.0, 64))
    assert scaled.value == pytest.approx(slope.value, abs=1e-9)
    assert shifted.value == pytest.approx(slope.value, abs=1e-9)


def test_coordinates_come_in_any_order() -> None:
    values = _student(np.random.default_rng(9), 64, 64)
    assert _estimates(values)[0].value == pytest.approx(_estimates(values[:, ::-1])[0].value, abs=1e-12)


def test_places_seldom_reached_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(10)
    values = _gaussian(rng, 64, 200)
    values[:, 120:] *= rng.random((64, 80)) < 0.1
    assert np.flatnonzero(moving_coordinates(values)).tolist() == list(range(120))
    slope, _ = _estimates(values)
    assert slope.value == pytest.approx(-0.5, abs=0.04)
    assert slope.note == "120 of 200 coordinates; the others are mostly zero"


def test_two_sizes_still_have_a_shape_to_compare() -> None:
    curve = averaging_curve(pair_noise(_gaussian(np.random.default_rng(11), 16, 200)))
    assert curve is not None
    assert curve.sizes.tolist() == [1, 2]
    assert averaging_slope(curve).value == pytest.approx(-0.5, abs=0.06)
    drift = averaging_drift(curve)
    assert drift.low < 0.0 < drift.high


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.zeros((64, 40)), Status.ALL_ZERO),
        (np.ones((64, 40)), Status.CONSTANT),
        (np.random.default_rng(12).normal(size=(64, 15)), Status.TOO_FEW_VALUES),
        (np.random.default_rng(12).normal(size=(15, 40)), Status.TOO_FEW_DRAWS),
        (np.full((64, 40), np.inf), Status.NON_FINITE),
        (np.where(np.eye(64) > 0.0, np.nan, 1.0), Status.NON_FINITE),
        (np.eye(64), Status.TOO_FEW_VALUES),
    ],
    ids=["zeros", "constant", "few coordinates", "few draws", "infinite", "nan", "each once"],
)
def test_bad_data_give_a_status(values: np.ndarray, status: Status) -> None:
    slope, alpha, verdict = _findings(values.astype(np.float32))
    assert (slope.value, alpha.value, verdict.answer) == (None, None, None)
    assert (slope.status, alpha.status, verdict.status) == (status, status, status)


def test_tiny_and_huge_gradients_are_fine() -> None:
    values = _gaussian(np.random.default_rng(13), 64, 64)
    for factor in (1e-36, 1e36):
        slope, _ = _estimates((factor * values).astype(np.float32))
        assert slope.value == pytest.approx(-0.5, abs=0.06)


def test_two_values_give_a_status() -> None:
    """Noise of two values is zero or of one size, and quantiles of that jump."""
    slope, alpha, verdict = _findings(np.random.default_rng(14).choice([-1.0, 1.0], size=(128, 256)))
    assert slope.status is alpha.status is verdict.status is Status.FEW_DISTINCT


_ANSWERS: list[tuple[str, Law, str]] = [
    ("gaussian", _gaussian, "gaussian"),
    ("lognormal scales", _unequal, "gaussian"),
    ("shared direction", _shared, "gaussian"),
    ("t(3)", _student, "thinning"),
    ("t(2.2)", _student_22, "thinning"),
    ("stable 1.7", _stable(1.7), "stable"),
    ("stable 1.3", _stable(1.3), "stable"),
    ("cauchy", _stable(1.0), "stable"),
    ("rare cauchy", _contaminated, "rare_values"),
    ("gaussian, alike", _alike(_gaussian), "gaussian"),
    ("t(3), alike", _alike(_student), "thinning"),
    ("stable 1.3, alike", _alike(_stable(1.3)), "stable"),
]


@pytest.mark.parametrize(("law", "answer"), [case[1:] for case in _ANSWERS], ids=[case[0] for case in _ANSWERS])
def test_each_law_gets_its_verdict(law: Law, answer: str) -> None:
    rng = np.random.default_rng(15)
    found = [_verdict(law(rng, 128, 1024)) for _ in range(8)]
    assert sum(verdict.answer == answer for verdict in found) >= 7
    for verdict in found:
        assert verdict.margin is not None
        assert verdict.margin >= 0.0
        assert verdict.p_value is not None
        assert (verdict.p_value <= 0.02) == (verdict.answer != "gaussian")
        assert verdict.runner_up != verdict.answer
        assert verdict.note.startswith(("slope -0.", "slope +0."))


def test_p_values_of_gaussian_noise_are_not_too_small() -> None:
    rng = np.random.default_rng(16)
    p_values = np.array([_verdict(_alike(_gaussian)(rng, 64, 256)).p_value for _ in range(60)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p_values <= level) <= level + 3.0 * np.sqrt(level * (1.0 - level) / p_values.size)


def test_few_draws_of_few_coordinates_give_no_verdict() -> None:
    rng = np.random.default_rng(17)
    found = [_verdict(_gaussian(rng, 16, 16)) for _ in range(10)]
    assert {verdict.status for verdict in found} >= {Status.TOO_FEW_DRAWS}
    assert all(verdict.answer in (None, "gaussian") for verdict in found)
