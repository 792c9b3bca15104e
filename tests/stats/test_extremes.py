"""Hill's and the moment estimator: known tails, intervals, sketches beside values, layers, and bad data."""

from collections.abc import Callable

import numpy as np
import pytest

from gnoise.records import Estimate, SketchSample, Status
from gnoise.stats.extremes import ExtremesFit, estimate_extremes, fit_extremes, moment_variance
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.statistic import Subject

Law = Callable[[np.random.Generator, int], np.ndarray]


def _pareto(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n) ** -0.5


def _cauchy(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_cauchy(n)


def _student(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(3, n)


def _gaussian(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def test_both_estimators_by_hand() -> None:
    """Sixty powers of two: the threshold ends up somewhere, and the formulas hold beyond it."""
    values = 2.0 ** np.random.default_rng(0).permutation(60)
    fit = fit_extremes(-values)
    excess = np.log(np.sort(values)[::-1][: fit.hill_k] / fit.hill_threshold)
    assert fit.hill_threshold == pytest.approx(np.sort(values)[::-1][fit.hill_k])
    assert fit.xi_hill == pytest.approx(excess.mean())
    excess = np.log(np.sort(values)[::-1][: fit.moment_k] / fit.moment_threshold)
    first, second = excess.mean(), np.square(excess).mean()
    assert fit.xi_moment == pytest.approx(first + 1.0 - 0.5 / (1.0 - first**2 / second))
    assert fit.hill_k == 20


@pytest.mark.parametrize(
    ("law", "truth"), [(_pareto, 0.5), (_cauchy, 1.0), (_student, 1 / 3)], ids=["pareto", "cauchy", "t(3)"]
)
def test_intervals_hold_the_truth(law: Law, truth: float) -> None:
    rng = np.random.default_rng(1)
    found = [fit_extremes(law(rng, 20_000)) for _ in range(60)]
    for name in ("hill", "moment"):
        value, low, high, stderr = (
            np.array([getattr(fit, f"xi_{name}{end}") for fit in found]) for end in ("", "_low", "_high", "_stderr")
        )
        assert np.count_nonzero((low <= truth) & (truth <= high)) >= 51  # of 60 at 95%: fewer once in a thousand
        assert 0.6 < np.std((value - truth) / stderr) < 1.4
        assert abs(np.mean((value - truth) / stderr)) < 0.8


def test_a_gaussian_has_no_power_law() -> None:
    rng = np.random.default_rng(2)
    found = [fit_extremes(_gaussian(rng, 20_000)) for _ in range(40)]
    assert sum(fit.xi_moment_low > 0.0 for fit in found) <= 3
    assert all(fit.xi_hill > 0.03 for fit in found), "Hill takes a power law for granted"


def test_bounded_values_have_a_negative_index() -> None:
    fit = fit_extremes(np.random.default_rng(3).beta(1.0, 5.0, 20_000))
    assert fit.xi_moment == pytest.approx(-0.2, abs=0.15)


def test_hill_does_not_read_a_stable_index() -> None:
    """The warning in the documentation: at 3,000 values the far tail of α = 1.95 is out of sight."""
    rng = np.random.default_rng(4)
    read = np.median([1.0 / fit_extremes(stable_rvs(1.95, 0.0, 3_000, rng)).xi_hill for _ in range(30)])
    assert 3.0 < read < 6.0


@pytest.mark.parametrize("n", [60, 1_000, 100_000])
@pytest.mark.parametrize("law", [_pareto, _cauchy, _student, _gaussian])
def test_a_sketch_reads_what_its_values_read(law: Law, n: int) -> None:
    values = law(np.random.default_rng(5), n).astype(np.float32)
    plain, sketched = fit_extremes(values), fit_extremes(sketch_from_values(values))
    assert sketched.n == plain.n == n
    assert sketched.xi_hill == pytest.approx(plain.xi_hill, abs=0.5 * plain.xi_hill_stderr)
    assert sketched.xi_moment == pytest.approx(plain.xi_moment, abs=0.5 * plain.xi_moment_stderr)
    assert sketched.hill_threshold == pytest.approx(plain.hill_threshold, rel=0.02)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, -1.0, 1e30, 1e300])
def test_units_and_sign_make_no_difference(factor: float) -> None:
    values = _student(np.random.default_rng(6), 3_000)
    one, other = fit_extremes(values), fit_extremes(factor * values[::-1])
    assert other.hill_k == one.hill_k
    assert other.xi_hill == pytest.approx(one.xi_hill, rel=1e-9)
    assert other.xi_moment == pytest.approx(one.xi_moment, abs=1e-9)
    assert other.hill_threshold == pytest.approx(abs(factor) * one.hill_threshold, rel=1e-9)


def test_zeros_take_no_part() -> None:
    values = _student(np.random.default_rng(7), 3_000)
    assert fit_extremes(np.append(values, np.zeros(500))) == fit_extremes(values)


def test_variance_of_the_moment_estimator_is_continuous() -> None:
    assert moment_variance(0.0) == pytest.approx(1.0)
    assert moment_variance(-1e-9) == pytest.approx(1.0)
    assert moment_variance(1.0) == pytest.approx(2.0)


_SHORT = np.random.default_rng(8).normal(size=49)
_BAD = {
    "none": (np.empty(0), Status.TOO_FEW_VALUES),
    "zeros": (np.zeros(100), Status.ALL_ZERO),
    "all equal": (np.full(100, 3.0), Status.CONSTANT),
    "one size": (np.tile([-3.0, 3.0], 50), Status.CONSTANT),
    "two values": (np.tile([1.0, 2.0], 50), Status.FEW_DISTINCT),
    "49 values": (_SHORT, Status.TOO_FEW_VALUES),
    "nan": (np.append(np.ones(99), np.nan), Status.NON_FINITE),
    "inf": (np.append(np.ones(99), -np.inf), Status.NON_FINITE),
}


@pytest.mark.parametrize("case", _BAD)
def test_bad_data_give_a_status(case: str) -> None:
    values, status = _BAD[case]
    for fit in (fit_extremes(values), fit_extremes(sketch_from_values(values.astype(np.float32)))):
        assert fit.status is status
        assert fit.status.advice
        assert (fit.xi_hill, fit.xi_moment, fit.hill_k) == (0.0, 0.0, 0)


def test_denormals_are_values_like_others() -> None:
    values = _student(np.random.default_rng(9), 1_000)
    fit = fit_extremes(1e-310 * values)
    assert fit.xi_hill == pytest.approx(fit_extremes(values).xi_hill, abs=0.01)
    assert fit_extremes(sketch_from_values((1e-39 * values).astype(np.float32))).status is Status.OK


def _layer(draws: np.ndarray) -> tuple[Estimate, Estimate]:
    """Standardise the later half of pairs by the first, as a run does."""
    noise = ((draws[0::2] - draws[1::2]) / np.sqrt(2.0)).reshape(8, -1, draws.shape[1])
    scale = np.exp(np.log(np.abs(noise[:4])).mean(axis=(0, 1)))
    sketches = tuple(sketch_from_values((block / scale).astype(np.float32)) for block in noise[4:])
    sample = SketchSample(entries=(), draws=sketches, scale_pairs=4 * noise.shape[1])
    hill, moment = estimate_extremes(Subject(layer=None), sample)
    assert (hill.quantity, moment.quantity) == ("xi_hill_draws", "xi_moment_draws")
    return hill, moment


def test_a_layer_says_where_its_power_law_begins() -> None:
    scales = np.exp(2.0 * np.random.default_rng(10).normal(size=2_000))
    hill, moment = _layer(scales * np.random.default_rng(11).standard_t(3, (128, 2_000)))
    assert hill.low is not None
    assert hill.high is not None
    assert hill.low < 1 / 3 < hill.high < 0.5
    assert moment.value == pytest.approx(1 / 3, abs=0.1)
    assert hill.note.startswith(f"P(|x| > t) falls as t^-{1 / (hill.value or 1):.2f} beyond ")


def test_gaussian_layers_claim_no_power_law() -> None:
    rng = np.random.default_rng(12)
    found = [_layer(rng.normal(size=(128, 500)))[0] for _ in range(30)]
    assert sum(hill.status is not Status.NOT_HEAVY for hill in found) <= 4


def test_scales_of_few_pairs_are_not_divided_by() -> None:
    """Divided by a scale of four pairs even Gaussian noise has ξ = 1/4."""
    hill, moment = _layer(np.random.default_rng(13).normal(size=(16, 500)))
    assert hill.status is moment.status is Status.TOO_FEW_DRAWS


def test_a_tail_that_one_block_makes_has_no_interval() -> None:
    draws = np.random.default_rng(14).normal(size=(64, 500))
    draws[-8:] *= 50.0
    hill, moment = _layer(draws)
    assert hill.status is moment.status is Status.TOO_FEW_DRAWS


def test_fits_are_plain_numbers() -> None:
    fit = fit_extremes(_student(np.random.default_rng(15), 1_000))
    assert isinstance(fit, ExtremesFit)
    assert {type(value) for value in vars(fit).values()} == {float, int, Status}
