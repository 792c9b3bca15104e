"""Localization of noise matrices whose structure is known."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.records import Estimate, Kind, Layer, MatrixSample, Status, Verdict
from gnoise.stats.lines import dispersion
from gnoise.stats.localization import (
    STATISTIC,
    estimate_localization,
    gaussian_max_entry_ratio,
    haar_ipr_mean,
    haar_ipr_variance,
)
from gnoise.stats.statistic import Subject
from tests.contract.samples import matrix_sample

PAIRS, ROWS, COLUMNS = 32, 24, 16
NEEDS_BOTH_SIDES = (
    "row_dispersion", "column_dispersion", "row_localization", "column_localization",
    "spectral_edge_ratio", "permuted_ratio",
)  # fmt: skip
SUBJECT = Subject(layer=Layer("embedding.weight", Kind.EMBEDDING, (ROWS, COLUMNS)))


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((PAIRS, ROWS, COLUMNS))


def _estimate(noise: np.ndarray, subject: Subject = SUBJECT) -> dict[str, Estimate]:
    return _estimates(matrix_sample(noise), subject)


def _estimates(sample: MatrixSample, subject: Subject = SUBJECT) -> dict[str, Estimate]:
    found = estimate_localization(subject, sample)
    return {each.quantity: each for each in found if isinstance(each, Estimate)}


def _verdict(noise: np.ndarray, subject: Subject = SUBJECT) -> Verdict:
    found = estimate_localization(subject, matrix_sample(noise))
    return next(each for each in found if isinstance(each, Verdict))


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


LAWS = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape),
    "cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "rarely not zero": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.1),
}


def test_dispersion_averages_to_one_over_all_orders_of_the_entries() -> None:
    orders = np.array(list(permutations([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 7.0])))
    squares = np.square(np.concatenate([orders, np.full((len(orders), 1), 3.0)], axis=1)).reshape(-1, 2, 4)
    fourth = np.square(squares).sum((1, 2))
    assert dispersion(squares.sum(2), fourth, 4).mean() == pytest.approx(1.0)
    assert dispersion(squares.sum(1), fourth, 2).mean() == pytest.approx(1.0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shape", [(24, 16), (3, 40), (200, 2)])
def test_independent_entries_of_any_law_have_dispersion_one(law: str, shape: tuple[int, int]) -> None:
    noise = LAWS[law](np.random.default_rng(1), (400, *shape))
    sample = matrix_sample(noise[np.any(noise, axis=(1, 2))])
    for energy, length in ((sample.row_energy, shape[1]), (sample.column_energy, shape[0])):
        ratios = dispersion(energy, sample.winsorised_fourth, length)
        assert abs(ratios.mean() - 1.0) < 3.5 * ratios.std() / np.sqrt(ratios.size)


@pytest.mark.parametrize("law", ["gaussian", "t3", "cauchy"])
def test_intervals_hold_the_null(law: str) -> None:
    rng = np.random.default_rng(2)
    runs, covered, errors = 100, 0, []
    for _ in range(runs):
        found = _estimate(LAWS[law](rng, (PAIRS, ROWS, COLUMNS)))["row_dispersion"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high
        errors.append((_value(found) - 1.0) / (found.stderr or np.nan))
    assert covered >= 87
    assert abs(np.mean(errors)) < 0.4
    assert 0.8 < np.std(errors) < 1.25


@pytest.mark.parametrize(("law", "least"), [("gaussian", 3.0), ("t3", 2.0), ("cauchy", 1.3)])
def test_loud_rows_are_seen_and_named(law: str, least: float) -> None:
    noise = LAWS[law](np.random.default_rng(3), (PAIRS, ROWS, COLUMNS))
    noise[:, [5, 17]] *= 3.0
    found = _estimate(noise)
    low = found["row_dispersion"].low
    assert low is not None
    assert low > least
    assert _value(found["column_dispersion"]) < 1.5
    assert set(found["row_dispersion"].note.removeprefix("rows ").split()[:4:2]) == {"5", "17"}


def test_rows_that_most_pairs_never_reach_are_loud_rows() -> None:
    noise = np.zeros((PAIRS, ROWS, COLUMNS))
    rng = np.random.default_rng(4)
    for pair in noise:
        pair[rng.choice(ROWS, 3, replace=False)] = rng.standard_normal((3, COLUMNS))
    assert _value(_estimate(noise)["row_dispersion"]) > 5.0


def test_rows_are_named_with_their_tokens() -> None:
    noise = _noise()
    noise[:, 17] *= 10.0
    noise[:, 3] *= 5.0
    labels = tuple({3: "new\nline", 17: "x" * 50}.get(row, f"t{row}") for row in range(20))
    note = _estimate(noise, replace(SUBJECT, row_labels=labels))["row_dispersion"].note
    first, second, *rest = note.removeprefix("rows ").split(", ")
    assert first.startswith("17 '" + "x" * 20 + "' ")
    assert second.startswith("3 'new\\nline' ")
    assert len(rest) == 3
    assert all(part.endswith("%") for part in (first, second, *rest))


def test_columns_are_named_by_number() -> None:
    noise = _noise()
    noise[:, :, 9] *= 10.0
    found = _estimate(noise, replace(SUBJECT, row_labels=tuple("abcdefghijklmnopqrstuvwx")))
    assert found["column_dispersion"].note.startswith("columns 9 ")
    assert "'" not in found["column_dispersion"].note


def test_a_single_entry_far_above_the_rest_is_its_own_singular_value() -> None:
    noise = _noise()
    rng = np.random.default_rng(5)
    noise[np.arange(PAIRS), rng.integers(ROWS, size=PAIRS), rng.integers(COLUMNS, size=PAIRS)] = 100.0
    found = _estimate(noise)
    for quantity in ("max_entry_ratio", "ipr_left", "ipr_right"):
        assert _value(found[quantity]) > 0.97


def test_gaussian_noise_is_delocalized() -> None:
    rng = np.random.default_rng(6)
    sample = matrix_sample(rng.standard_normal((PAIRS, 60, 40)))
    found = _estimates(sample)
    assert _value(found["max_entry_ratio"]) == pytest.approx(gaussian_max_entry_ratio(60, 40), rel=0.1)
    for quantity, side in (("ipr_left", 60), ("ipr_right", 40)):
        stderr = np.sqrt(haar_ipr_variance(side) / PAIRS)
        assert abs(_value(found[quantity]) - haar_ipr_mean(side)) < 3.5 * stderr


@pytest.mark.parametrize("side", [2, 5, 40])
def test_haar_moments_are_those_of_random_unit_vectors(side: int) -> None:
    vectors = np.random.default_rng(7).standard_normal((40_000, side))
    ratios = np.power(vectors, 4).sum(1) / np.square(np.square(vectors).sum(1))
    assert ratios.mean() == pytest.approx(haar_ipr_mean(side), rel=0.01)
    assert ratios.var() == pytest.approx(haar_ipr_variance(side), rel=0.06)


def test_one_coordinate_has_one_inverse_participation_ratio() -> None:
    assert haar_ipr_mean(1) == 1.0
    assert haar_ipr_variance(1) == 0.0


@given(st.integers(0, 2**32 - 1), st.floats(-20.0, 20.0))
def test_units_and_order_do_not_matter(seed: int, log_scale: float) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(2, (8, 5, 4))
    other = 10.0**log_scale * noise[:, :, rng.permutation(4)][:, rng.permutation(5)][rng.permutation(8)]
    found, again = _estimate(noise), _estimate(other)
    for quantity in {*STATISTIC.quantities} - {"permuted_ratio"}:  # whose order is random
        for end in ("value", "low", "high", "stderr"):
            assert getattr(again[quantity], end) == pytest.approx(getattr(found[quantity], end), rel=1e-6)


def test_turning_the_matrix_swaps_rows_and_columns() -> None:
    noise = LAWS["t3"](np.random.default_rng(8), (PAIRS, 9, 7))
    found, turned = _estimate(noise), _estimate(noise.transpose(0, 2, 1))
    swapped = {
        "ipr_left": "ipr_right",
        "row_dispersion": "column_dispersion",
        "row_localization": "column_localization",
    }
    assert _value(turned["max_entry_ratio"]) == pytest.approx(_value(found["max_entry_ratio"]))
    for here, there in swapped.items():
        assert _value(turned[there]) == pytest.approx(_value(found[here]))
        assert _value(turned[here]) == pytest.approx(_value(found[there]))


def _statuses(noise: np.ndarray) -> dict[str, Status]:
    with np.errstate(all="ignore"):
        found = _estimate(noise)
    for estimate in found.values():
        assert (estimate.value is None) == (estimate.status is not Status.OK)
    return {quantity: estimate.status for quantity, estimate in found.items()}


@pytest.mark.parametrize(
    ("noise", "status"),
    [
        (np.zeros((4, 3, 5)), Status.ALL_ZERO),
        (np.full((4, 3, 5), np.nan), Status.NON_FINITE),
        (np.full((4, 3, 5), np.inf), Status.NON_FINITE),
        (_noise()[:1], Status.TOO_FEW_DRAWS),
        (np.concatenate([_noise()[:1], np.zeros((5, ROWS, COLUMNS))]), Status.TOO_FEW_DRAWS),
    ],
)
def test_data_without_an_answer_give_a_status(noise: np.ndarray, status: Status) -> None:
    assert set(_statuses(noise).values()) == {status}


def test_no_pairs_are_too_few() -> None:
    sample = matrix_sample(_noise()[:2])
    empty = MatrixSample(
        rows=sample.rows,
        columns=sample.columns,
        **{name: value[:0] for name, value in vars(sample).items() if isinstance(value, np.ndarray)},
    )
    found = _estimates(empty)
    assert {estimate.status for estimate in found.values()} == {Status.TOO_FEW_DRAWS}


def test_what_a_side_of_one_fixes_is_constant() -> None:
    fixed = _statuses(_noise()[:, :1])
    assert {quantity for quantity, status in fixed.items() if status is Status.CONSTANT} == {
        "ipr_left",
        *NEEDS_BOTH_SIDES,
    }
    fixed = _statuses(_noise()[:, :, :1])
    assert {quantity for quantity, status in fixed.items() if status is Status.CONSTANT} == {
        "ipr_right",
        *NEEDS_BOTH_SIDES,
    }


def test_entries_of_one_size_have_no_dispersion() -> None:
    found = _statuses(np.sign(_noise()))
    assert found["row_dispersion"] is found["column_dispersion"] is Status.CONSTANT
    assert found["max_entry_ratio"] is found["ipr_left"] is Status.OK


def test_silent_pairs_do_not_count() -> None:
    noise = _noise()
    noise[::4] = 0.0
    found = _estimate(noise)
    assert {estimate.n for estimate in found.values()} == {24}
    assert _value(found["max_entry_ratio"]) == pytest.approx(
        _value(_estimate(noise[np.any(noise, axis=(1, 2))])["max_entry_ratio"])
    )
