import importlib.util
import warnings

import pytest
import torch

from gnoise.errors import UserError
from gnoise.kernels import choice, layer_norm_backward, rms_norm_backward
from gnoise.kernels.layer_norm import layer_norm_backward_reference
from gnoise.kernels.norm_launch import WIDEST, is_wide, plan_programs, stages
from gnoise.kernels.rms_norm import rms_norm_backward_reference
from tests.kernels.norm_cases import DTYPES, LEADING, SIZES, SUM_TOLERANCE, TOLERANCE, Case, call, errors, make

PUBLIC = {"layer_norm": layer_norm_backward, "rms_norm": rms_norm_backward}
REFERENCE = {"layer_norm": layer_norm_backward_reference, "rms_norm": rms_norm_backward_reference}
KINDS = tuple(PUBLIC)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_agrees_with_float64_autograd(kind: str, leading: tuple[int, ...], size: int, dtype: str) -> None:
    case = make(kind, (*leading, size), DTYPES[dtype])
    dx, *sums = errors(case, call(REFERENCE[kind], case))
    assert dx <= TOLERANCE[dtype]
    assert max(sums) <= SUM_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_reference_is_exact_in_float64(kind: str) -> None:
    case = make(kind, (3, 5, 12), torch.float64)
    assert max(errors(case, call(REFERENCE[kind], case))) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_on_a_cpu_goes_to_the_reference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GNOISE_KERNELS", raising=False)
    case = make(kind, (2, 3, 5))
    for ours, theirs in zip(call(PUBLIC[kind], case), call(REFERENCE[kind], case), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_alone_add_up_to_the_batch(kind: str) -> None:
    case = make(kind, (6, 5, 31))
    parts = [
        call(PUBLIC[kind], Case(kind, case.grad[i : i + 1], case.x[i : i + 1], case.weight, case.bias))
        for i in range(6)
    ]
    whole = call(PUBLIC[kind], case)
    half = len(whole) // 2 + 1
    for place in range(1, half):
        torch.testing.assert_close(sum(part[place] for part in parts), whole[place], rtol=2e-6, atol=2e-6)
    for place in range(half, len(whole)):
        torch.testing.assert_close(torch.cat([part[place] for part in parts]), whole[place], rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_two_dimensions_is_one_row(kind: str) -> None:
    case = make(kind, (2, 3, 12))
    shaped = Case(
        kind,
        case.grad.view(2, 3, 4, 3),
        case.x.view(2, 3, 4, 3),
        case.weight.view(4, 3),
        None if case.bias is None else case.bias.view(4, 3),
    )
    for flat, square in zip(call(PUBLIC[kind], case), call(PUBLIC[kind], shaped), strict=True):
        assert torch.equal(flat.flatten(), square.flatten())


@pytest.mark.parametrize("kind", KINDS)
def test_errors_say_what_to_try(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make(kind, (2, 3, 5))
    for wrong, said in (
        (Case(kind, case.grad[0, 0], case.x[0, 0], case.weight, case.bias), r"unsqueeze\(0\)"),
        (Case(kind, case.grad[:, :2], case.x, case.weight, case.bias), "gradient of the layer's output"),
        (Case(kind, case.grad, case.x, case.weight, case.bias, eps=-1.0), "try eps=1e-5"),
        (Case(kind, case.grad.long(), case.x, case.weight, case.bias), "floating-point"),
    ):
        with pytest.raises(UserError, match=said):
            call(PUBLIC[kind], wrong)
    with pytest.raises(UserError, match="one weight for each of 2 examples"):
        call(PUBLIC[kind], case, example_weights=torch.ones(3))
    monkeypatch.setenv("GNOISE_KERNELS", "fast")
    with pytest.raises(UserError, match="try GNOISE_KERNELS=auto"):
        call(PUBLIC[kind], case)
    monkeypatch.setenv("GNOISE_KERNELS", "triton")
    with pytest.raises(UserError, match="got a tensor on cpu; try GNOISE_KERNELS=auto"):
        call(PUBLIC[kind], case)


@pytest.mark.parametrize(
    ("device", "installed", "hip", "capability", "reason"),
    [
        ("cuda", False, None, (9, 0), "the package triton is not installed"),
        ("cuda", True, "6.0", (9, 4), "AMD GPU"),
        ("cuda", True, None, (7, 5), "compute capability 7.5, older than 8.0"),
        ("mps", True, None, (0, 0), "a tensor on mps"),
    ],
)
def test_what_triton_cannot_run_on_is_said_once(
    monkeypatch: pytest.MonkeyPatch, device: str, installed: bool, hip: str | None, capability: tuple, reason: str
) -> None:
    class Far:
        dtype = torch.float32

        def __init__(self) -> None:
            self.device = torch.device(device)

    monkeypatch.delenv("GNOISE_KERNELS", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if installed else None)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    choice._lacking.cache_clear()
    choice._say_once.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert [choice.choose(Far()) for _ in range(3)] == [choice.Backend.TORCH] * 3
    assert len(said) == 1
    assert reason in str(said[0].message)
    choice._lacking.cache_clear()
    choice._say_once.cache_clear()


def test_a_new_gpu_runs_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    class Near:
        device = torch.device("cuda")

        def __init__(self, dtype: torch.dtype) -> None:
            self.dtype = dtype

    monkeypatch.delenv("GNOISE_KERNELS", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "hip", None)
    choice._lacking.cache_clear()
    assert choice.choose(Near(torch.bfloat16)) is choice.Backend.TRITON
    assert choice.choose(Near(torch.float64)) is choice.Backend.TORCH
    monkeypatch.setenv("GNOISE_KERNELS", "torch")
    assert choice.choose(Near(torch.bfloat16)) is choice.Backend.TORCH
    choice._lacking.cache_clear()


@pytest.mark.parametrize("features", [1, 3, 768, 1025, 4096, WIDEST, 16384])
@pytest.mark.parametrize(("examples", "tokens"), [(1, 1), (1, 1 << 20), (8, 1024), (133, 512), (5000, 3)])
def test_plans_cover_all_tokens_within_the_card(features: int, examples: int, tokens: int) -> None:
    plan = plan_programs(examples, tokens, features, 132)
    assert plan.chunk * plan.chunks >= tokens > plan.chunk * (plan.chunks - 1)
    assert plan.chunk % plan.rows == 0
    assert plan.rows * plan.block <= 512 * max(1, plan.warps) or plan.warps == 16
    slots = 132 * (16 // plan.warps) // (-(-features // plan.block) if is_wide(features) else 1)
    if examples * tokens >= 8 * slots * plan.rows:
        waves = -(-examples * plan.chunks // slots)
        assert examples * tokens / (waves * slots * plan.chunk) > 0.6


@pytest.mark.parametrize("shared", [100 << 10, 164 << 10, 228 << 10])
@pytest.mark.parametrize("value_bytes", [4, 6, 8])
def test_loads_under_way_fit_shared_memory(shared: int, value_bytes: int) -> None:
    for features in (64, 768, 1025, 4096, 5120, WIDEST):
        turns = stages(features, value_bytes, shared)
        held = (turns - 1) * 8192 * value_bytes
        assert turns >= 2
        assert turns == 2 or held < shared
        assert features % 16 == 0 or turns == 2
    assert stages(4096, 4, 228 << 10) == 3
    assert stages(5120, 4, 228 << 10) == 4
