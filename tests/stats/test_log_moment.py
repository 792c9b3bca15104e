"""The block log-moment estimator: right on its own law, and wrong by what its documentation says elsewhere."""

import numpy as np
import pytest

from gnoise.errors import UserError
from gnoise.records import Status
from gnoise.stats.log_moment import fit_log_moment
from gnoise.stats.stable import stable_rvs

N = 100_000


@pytest.mark.parametrize("alpha", [0.8, 1.3, 1.7, 2.0])
def test_stable_values_read_their_index(alpha: float) -> None:
    rng = np.random.default_rng(1)
    found = [fit_log_moment(stable_rvs(alpha, 0.0, 10_000, rng), block_size=100) for _ in range(60)]
    z = np.array([(fit.xi - 1.0 / alpha) / fit.xi_stderr for fit in found])
    assert abs(z.mean()) < 0.5
    assert 0.7 < z.std() < 1.35
    assert sum(fit.xi_low <= 1.0 / alpha <= fit.xi_high for fit in found) >= 51


def _lognormal(rng: np.random.Generator, log_sd: float, runs: int) -> np.ndarray:
    """Gaussian values whose standard deviations are lognormal, ``runs`` neighbours alike."""
    return rng.normal(size=N) * np.repeat(np.exp(log_sd * rng.normal(size=N // runs)), runs)


def test_the_bias_is_what_the_documentation_says() -> None:
    rng = np.random.default_rng(2)
    values = {
        2.00: rng.normal(size=N),
        1.42: _lognormal(rng, 1.0, 1),
        0.86: _lognormal(rng, 2.0, 1),
        2.001: _lognormal(rng, 1.0, 100),
        1.75: rng.standard_t(3, N),
        1.78: rng.laplace(size=N),
    }
    for read, sample in values.items():
        assert fit_log_moment(sample, block_size=100).alpha == pytest.approx(read, abs=0.09)


def test_units_make_no_difference() -> None:
    values = np.random.default_rng(3).standard_t(3, 1_000)
    one = fit_log_moment(values, block_size=10)
    for factor in (1e-300, 1e300, -1.0):
        assert fit_log_moment(factor * values, block_size=10).xi == pytest.approx(one.xi, abs=1e-9)


def test_values_by_hand() -> None:
    values = np.array([1.0, 2.0] * 8 + [0.0, 7.0])
    fit = fit_log_moment(values, block_size=2)
    assert fit.blocks == 8
    assert fit.xi == pytest.approx((np.log(3.0) - 0.5 * np.log(2.0)) / np.log(2.0))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.empty(0), Status.TOO_FEW_VALUES),
        (np.zeros(100), Status.ALL_ZERO),
        (np.full(100, 2.0), Status.CONSTANT),
        (np.tile([1.0, -1.0], 50), Status.FEW_DISTINCT),
        (np.ones(70), Status.TOO_FEW_VALUES),
        (np.append(np.ones(200), np.nan), Status.NON_FINITE),
        (np.append(np.ones(200), np.inf), Status.NON_FINITE),
    ],
)
def test_bad_data_give_a_status(values: np.ndarray, status: Status) -> None:
    fit = fit_log_moment(values, block_size=10)
    assert (fit.xi, fit.status) == (0.0, status)
    assert fit.alpha == np.inf


def test_a_block_holds_two_values_at_least() -> None:
    with pytest.raises(UserError, match="try block_size=10"):
        fit_log_moment(np.ones(100), block_size=1)
