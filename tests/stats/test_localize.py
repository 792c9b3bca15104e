"""Verdicts on planted noise, from plain arrays."""

from dataclasses import replace

import numpy as np
import pytest

from gnoise.errors import UserError
from gnoise.records import Kind, Layer, Status, Verdict
from gnoise.stats import Localization, Subject, localize, stable_rvs
from gnoise.stats.localization import estimate_localization
from gnoise.stats.noise_matrix import matrix_sample
from tests.contract.samples import matrix_sample as obvious_sample

M, N, PAIRS = 96, 160, 6


def _gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((PAIRS, M, N))


def _lines(rng: np.random.Generator, factor: float, *, axis: int) -> np.ndarray:
    noise = _gaussian(rng)
    noise[(slice(None), *[slice(None)] * axis, [3, 70])] *= factor
    return noise


def _low_rank(rng: np.random.Generator) -> np.ndarray:
    noise = _gaussian(rng)
    for times in (1.5, 1.25):
        left, right = rng.standard_normal((PAIRS, M, 1)), rng.standard_normal((PAIRS, 1, N))
        size = np.linalg.norm(left, axis=1, keepdims=True) * np.linalg.norm(right, axis=2, keepdims=True)
        noise += times * (np.sqrt(M) + np.sqrt(N)) * left * right / size
    return noise


def _rare_cauchy(rng: np.random.Generator) -> np.ndarray:
    noise = _gaussian(rng)
    return noise + np.where(rng.random(noise.shape) < 1e-3, rng.standard_cauchy(noise.shape), 0.0)


PLANTED = {
    "gaussian": (_gaussian, {"bulk"}),
    "t3": (lambda rng: rng.standard_t(3, (PAIRS, M, N)), {"entries"}),
    "rare cauchy": (_rare_cauchy, {"entries", "bulk"}),
    "stable": (lambda rng: stable_rvs(1.7, 0.0, (PAIRS, M, N), rng), {"entries"}),
    "loud rows": (lambda rng: _lines(rng, 3.0, axis=0), {"rows"}),
    "slightly loud rows": (lambda rng: _lines(rng, 1.5, axis=0), {"rows"}),
    "loud columns": (lambda rng: _lines(rng, 3.0, axis=1), {"columns"}),
    "low rank": (_low_rank, {"low_rank"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_noise_gets_its_verdict(name: str) -> None:
    planted, right = PLANTED[name]
    rng = np.random.default_rng(11)
    answers = [localize(planted(rng)).verdict.answer for _ in range(12)]
    assert sum(answer in right for answer in answers) >= 11


def test_gaussian_noise_is_seldom_called_localized_from_a_single_matrix() -> None:
    rng = np.random.default_rng(12)
    found = [localize(rng.standard_normal((20, 30))).verdict for _ in range(200)]
    alarms = [verdict for verdict in found if verdict.answer != "bulk"]
    assert len(alarms) <= 17
    assert all(verdict.p_value is not None and verdict.p_value < 0.05 for verdict in alarms)


def test_entries_of_very_unequal_sizes_that_never_change_are_not_loud_rows() -> None:
    rng = np.random.default_rng(13)
    alarms = 0
    for _ in range(40):
        scales = np.exp(rng.standard_normal((40, 50)))
        alarms += localize(scales * rng.standard_normal((8, 40, 50))).verdict.answer in ("rows", "columns")
    assert alarms <= 5


def test_loud_rows_are_named_with_their_labels() -> None:
    noise = _lines(np.random.default_rng(14), 3.0, axis=0)
    verdict = localize(noise, row_labels=tuple(f"token {row}" for row in range(M))).verdict
    named = verdict.note.removeprefix("rows ").split(", ")[:2]
    assert sorted(each.rsplit(" ", 1)[0] for each in named) == ["3 'token 3'", "70 'token 70'"]
    assert "times as uneven as chance" in verdict.note


def test_entries_that_recur_are_named() -> None:
    noise = _gaussian(np.random.default_rng(15))
    noise[:, 12, 40] = 200.0
    verdict = localize(noise, row_labels=tuple(f"t{row}" for row in range(M))).verdict
    assert verdict.answer == "entries"
    assert f"row 12 't12' column 40 in {PAIRS} of {PAIRS}" in verdict.note
    noise = _gaussian(np.random.default_rng(15))
    noise[np.arange(PAIRS), np.arange(PAIRS), np.arange(PAIRS)] = 200.0
    assert "another one in every pair" in localize(noise).verdict.note


def test_the_answer_after_next_is_the_runner_up() -> None:
    noise = _low_rank(np.random.default_rng(16))
    noise[:, [3, 70]] *= 2.0
    verdict = localize(noise).verdict
    assert (verdict.answer, verdict.runner_up) == ("rows", "low_rank")
    assert verdict.margin is not None
    assert verdict.margin > 1.0
    calm = localize(_gaussian(np.random.default_rng(17))).verdict
    assert calm.runner_up in ("rows", "columns", "low_rank", "entries")


def test_noise_with_fewer_directions_than_half_the_matrix_is_low_rank_without_a_bulk() -> None:
    rng = np.random.default_rng(18)
    noise = rng.standard_normal((PAIRS, M, 4)) @ rng.standard_normal((PAIRS, 4, N))
    found = localize(noise)
    assert found.verdict.answer == "low_rank"
    assert "without a bulk" in found.verdict.note
    statuses = {estimate.quantity: estimate.status for estimate in found.estimates}
    assert statuses["spectral_edge_ratio"] is Status.NO_BULK


def test_a_single_matrix_gets_a_verdict_and_its_numbers_but_no_interval() -> None:
    found = localize(_lines(np.random.default_rng(19), 3.0, axis=0)[0])
    assert (found.verdict.answer, found.verdict.n) == ("rows", 1)
    assert found.typical is not None
    assert found.typical.row_localization > 2.0
    assert {estimate.status for estimate in found.estimates} == {Status.TOO_FEW_DRAWS}


@pytest.mark.parametrize(
    ("noise", "status"),
    [
        (np.zeros((3, 5)), Status.ALL_ZERO),
        (np.full((3, 5), 2.0), Status.CONSTANT),
        (np.full((3, 5), np.nan), Status.NON_FINITE),
        (np.full((2, 3, 5), np.inf), Status.NON_FINITE),
        (np.arange(5.0)[None], Status.ONE_LINE),
        (np.arange(5.0)[:, None], Status.ONE_LINE),
        (np.ones((1, 1)), Status.ONE_LINE),
    ],
)
def test_what_has_no_answer_gives_a_status(noise: np.ndarray, status: Status) -> None:
    found = localize(noise)
    assert (found.verdict.answer, found.verdict.status, found.typical) == (None, status, None)
    assert found.verdict.status.advice


@pytest.mark.parametrize("shape", [(5,), (0, 3), (2, 2, 2, 2)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected a matrix or a stack of matrices"):
        localize(np.ones(shape))


def test_units_do_not_matter() -> None:
    noise = np.random.default_rng(20).standard_t(2, (4, 12, 9))
    for scale in (1e-30, 1e30):
        again = localize(scale * noise)
        assert _numbers(again) == pytest.approx(_numbers(localize(noise)), rel=1e-9)


def _numbers(found: Localization) -> dict[str, float]:
    assert found.typical is not None
    return {name: value for name, value in vars(found.typical).items() if isinstance(value, float)}


@pytest.mark.parametrize("shape", [(3, 12, 9), (2, 9, 40), (2, 300, 270)])
def test_the_sample_is_that_of_whole_decompositions(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(21).standard_t(4, shape)
    noise[:, 0] = 0.0
    made, obvious = matrix_sample(noise, np.random.default_rng(0)), obvious_sample(noise)
    random = {"bulk_scale": 0.05, "permuted_ratio": 0.3}
    for name, value in vars(made).items():
        if name != "nuclear" or value is not None:
            np.testing.assert_allclose(value, getattr(obvious, name), rtol=random.get(name, 1e-9), err_msg=name)


def test_a_run_of_before_gets_a_status_and_its_older_numbers() -> None:
    subject = Subject(layer=Layer("h.weight", Kind.MLP, (M, N)))
    sample = replace(
        obvious_sample(_gaussian(np.random.default_rng(22))),
        bulk_scale=None,
        coherent_fourth=None,
        permuted_ratio=None,
        max_position=None,
    )
    *estimates, verdict = estimate_localization(subject, sample)
    assert isinstance(verdict, Verdict)
    assert (verdict.answer, verdict.status) == (None, Status.NOT_COLLECTED)
    missing = {x.quantity for x in estimates if x.status is Status.NOT_COLLECTED}
    assert missing == {"row_localization", "column_localization", "spectral_edge_ratio", "permuted_ratio"}
    assert all(x.value is not None for x in estimates if x.quantity not in missing)
