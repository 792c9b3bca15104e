import pytest

from gnoise.errors import UserError
from gnoise.kernels.ahead_of_time import CAPABILITIES, Case, cases, compile_ahead

EVERY = list(cases())
SOME = [case for case in EVERY if "bf16, 768 f" in case.label or "bf16, 4095" in case.label] + EVERY[-10:]


def test_every_program_is_among_the_cases() -> None:
    assert {case.program.__name__ for case in EVERY} == {
        "norm_backward",
        "row_statistics",
        "wide_norm_backward",
        "reduce_partials",
        "outer_sq_norms",
        "gram_sq_norms",
        "count_bits",
        "remedied_moments",
    }


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("case", SOME, ids=lambda case: f"{case.program.__name__}, {case.label}")
def test_compiles_without_a_gpu_and_spills_nothing(case: Case, capability: int) -> None:
    made = compile_ahead(case, capability)
    assert made.spilled == 0
    assert 0 < made.registers * 32 * case.warps <= 65536
    assert made.shared <= (163 if capability == 80 else 227) * 1024
    if case.program.__name__ == "norm_backward":
        assert made.registers <= 128  # the launch counts on 16 warps a multiprocessor
    if "4095" not in case.label and case.program.__name__ != "gram_sq_norms":
        assert made.loads[0] == 128


def test_the_interpreter_compiles_nothing() -> None:
    with pytest.raises(UserError, match="try without TRITON_INTERPRET"):
        compile_ahead(Case(print, "no program", {}, {}, 1), 90)
