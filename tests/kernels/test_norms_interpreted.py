from functools import cache
from typing import Any

import pytest

from tests.kernels.interpreter import interpreted
from tests.kernels.norm_cases import SUM_TOLERANCE, TOLERANCE

KINDS = ("layer_norm", "rms_norm")


@cache
def found(kind: str) -> dict[str, Any]:
    return interpreted("norms_worker.py", kind)


@pytest.mark.parametrize("kind", KINDS)
def test_triton_agrees_with_float64_at_every_size_and_rank(kind: str) -> None:
    parity = found(kind)["parity"]
    assert len(parity) == 3 * (4 + 3)
    for name, (dx, *sums) in parity.items():
        assert dx <= TOLERANCE[name.split("-")[2]], name
        assert max(sums) <= SUM_TOLERANCE, name


@pytest.mark.parametrize("kind", KINDS)
def test_many_examples_are_added_up_in_bands(kind: str) -> None:
    dx, *sums = found(kind)["many_examples"]
    assert max(dx, *sums) <= SUM_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_rows_too_wide_for_registers_agree_too(kind: str) -> None:
    assert max(found(kind)["wide"]) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_any_strides_give_the_same_bits(kind: str) -> None:
    layouts = found(kind)["layouts"]
    assert len(layouts) == 4
    assert all(all(same) for same in layouts.values()), layouts


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_runs_give_the_same_bits(kind: str) -> None:
    assert found(kind)["repeats"] is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_bad_entry_spoils_its_own_row_and_example_alone(kind: str, value: str) -> None:
    rows, examples = found(kind)[value]["rows"], found(kind)[value]["examples"]
    assert [place for place, finite in enumerate(rows) if not finite] == [1 * 4 + 2]
    assert examples == [True, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_variance_keeps_its_nan_to_itself(kind: str) -> None:
    assert found(kind)["constant"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_empty_tensors_give_empty_tensors_and_zeros(kind: str) -> None:
    twice = 2 if kind == "layer_norm" else 1
    assert found(kind)["zeros"] == {
        "(0, 3, 4)": [[0, 3, 4], *[[4]] * twice, *[[0]] * twice],
        "(2, 0, 4)": [[2, 0, 4], *[[4]] * twice, *[[2]] * twice],
        "(2, 3, 0)": [[2, 3, 0], *[[0]] * twice, *[[2]] * twice],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_switch_forces_triton(kind: str) -> None:
    assert found(kind)["chosen"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_divided_out_of_the_norms(kind: str) -> None:
    assert all(found(kind)["weighted"])
