"""What the compiler makes of every Triton program, for GPUs that need not be there."""
# pyright: reportArgumentType=false, reportUnknownMemberType=false

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnoise.errors import UserError
from gnoise.kernels.entrywise_remedies import RULES
from gnoise.kernels.norm_launch import WIDEST, plan_programs, stages

CAPABILITIES = (80, 90)
"""Compute capabilities, times ten: A100, and H100 or H200."""
_H100_PROCESSORS = 132
_SHARED = 164 << 10
"""Bytes of shared memory of an A100's multiprocessor."""
_BYTES = {"fp32": 4, "bf16": 2}
_STRIDES = ("grad_example", "grad_token", "x_example", "x_token")
_TYPES = {"fp32": "*fp32", "bf16": "*bf16"}


@dataclass(frozen=True)
class Case:
    """One specialisation of a program.

    Attributes:
        program: the Triton function.
        label: what it is for.
        pointers: type of each pointer argument.
        constants: its compile-time arguments.
        warps: of a program.
        floats: arguments that are float32 numbers; what is left are integers.
        multiples: integer arguments that are multiples of 16, as rows' strides mostly are.
    """

    program: Any
    label: str
    pointers: Mapping[str, str]
    constants: Mapping[str, object]
    warps: int
    floats: tuple[str, ...] = ()
    multiples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compiled:
    """What became of a case on one kind of GPU.

    Attributes:
        registers: of a thread.
        shared: bytes of shared memory of a program.
        spilled: bytes of local memory of a thread: registers that did not fit.
        loads: widths of loads from global memory in bits, the widest first.
    """

    registers: int
    shared: int
    spilled: int
    loads: tuple[int, ...]


def compile_ahead(case: Case, capability: int) -> Compiled:
    """Compile a case for a compute capability and read what it takes from the machine code.

    Raises:
        UserError: under Triton's interpreter, which compiles nothing.
    """
    import triton  # noqa: PLC0415, RUF100
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415, RUF100
    from triton.compiler import ASTSource  # noqa: PLC0415, RUF100

    names: list[str] | None = getattr(case.program, "arg_names", None)
    if names is None or not hasattr(case.program, "cache_key"):
        raise UserError("expected Triton to compile, got its interpreter; try without TRITON_INTERPRET")
    numbers = dict.fromkeys(case.floats, "fp32") | dict.fromkeys(case.constants, "constexpr") | dict(case.pointers)
    source = ASTSource(
        case.program,
        {name: numbers.get(name, "i32") for name in names},
        {(names.index(name),): value for name, value in case.constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in (*case.pointers, *case.multiples)},
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": case.warps})
    usage, code = (_cuobjdump(made.asm["cubin"], flag) for flag in ("-res-usage", "-sass"))
    found = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    loads = {int(x) if x.isdigit() else {"U16": 16, "U8": 8}.get(x, 32) for x in _load_widths(code)}
    spilled = found["STACK"] + found["LOCAL"]
    return Compiled(found["REG"], made.metadata.shared, spilled, tuple(sorted(loads, reverse=True)))


def cases() -> Iterator[Case]:
    """List every program at the sizes and types that matter."""
    yield from _norm_cases()
    yield from _linear_cases()
    yield from _other_cases()


def _norm_cases() -> Iterator[Case]:
    from gnoise.kernels.programs import norms  # noqa: PLC0415, RUF100

    for dtype, pointer in _TYPES.items():
        tensors = dict.fromkeys(("grad", "x", "weight", "dx"), pointer) | {"partials": "*fp32"}
        for features in (64, 128, 256, 767, 768, 1025, 2048, 4095, 4096, 5120, WIDEST):
            plan = plan_programs(8, 1024, features, _H100_PROCESSORS)
            for name, centered in (("LayerNorm", True), ("RMSNorm", False)):
                settings = {"CENTERED": centered, "HAS_BIAS": centered, "ROWS": plan.rows, "BLOCK": plan.block}
                multiples = ("features", "chunk", *_STRIDES) if features % 16 == 0 else ()
                pointers = tensors | {"row_sq_norms": "*fp32", "arrivals": "*i32"}
                more = settings | {"ROW_IS_EXAMPLE": False, "STAGES": stages(features, 2 * _BYTES[dtype], _SHARED)}
                label = f"{name} {dtype}, {features} features"
                yield Case(norms.norm_backward, label, pointers, more, plan.warps, ("eps",), multiples)
        for features in (2 * WIDEST - 1, 2 * WIDEST):
            yield from _wide_cases(features, dtype, tensors)
    sums = dict.fromkeys(("partials", "totals", "sq_parts", "sq_norms"), "*fp32") | {"arrivals": "*i32"}
    tile = {"EXAMPLES": 8, "CHUNKS": 16, "COLS": 32}
    yield Case(norms.reduce_partials, "sums and norms of both", sums, tile, 4, (), ("features",))


def _wide_cases(features: int, dtype: str, tensors: Mapping[str, str]) -> Iterator[Case]:
    from gnoise.kernels.programs import norms  # noqa: PLC0415, RUF100

    label = f"LayerNorm {dtype}, {features} features"
    plan = plan_programs(8, 1024, features, _H100_PROCESSORS)
    pointers = {**tensors, "statistics": "*fp32", "arrivals": "*i32"}
    of_rows = {name: pointers[name] for name in ("grad", "x", "weight", "statistics")}
    settings = {"CENTERED": True, "HAS_BIAS": True, "ROWS": plan.rows, "BLOCK": plan.block}
    settings["STAGES"] = stages(features, 2 * _BYTES[dtype], _SHARED)
    multiples = ("features", *_STRIDES) if features % 16 == 0 else ()
    yield Case(norms.row_statistics, label, of_rows, {"CENTERED": True, "BLOCK": 2048}, 8, ("eps",), multiples)
    yield Case(norms.wide_norm_backward, label, pointers, settings, plan.warps, (), (*multiples, "chunk"))


def _linear_cases() -> Iterator[Case]:
    from gnoise.kernels.programs import linear  # noqa: PLC0415, RUF100

    multiples = ("outputs", "inputs", "grad_example", "grad_token", "x_example", "x_token")
    for dtype, pointer in _TYPES.items():
        pointers = {"grad": pointer, "x": pointer, "parts": "*fp32"}
        for side, warps in ((64, 4), (128, 8)):
            tile = {"OUT": side, "IN": side, "TOKENS": 32}
            yield Case(linear.outer_sq_norms, f"{dtype}, tile of {side}", pointers, tile, warps, (), multiples)
        tile = {"TOKENS": 64, "FEATURES": 32}
        yield Case(linear.gram_sq_norms, f"{dtype}, tile of 64", pointers, tile, 4, (), multiples)


def _other_cases() -> Iterator[Case]:
    from gnoise.kernels.programs import entrywise, sketch  # noqa: PLC0415, RUF100

    for has_scale in (False, True):
        pointers = {"values": "*fp32", "scale": "*fp32", "counts": "*i64", "zeros": "*i64"}
        settings = {"COPIES": 8, "HAS_SCALE": has_scale, "BLOCK": 1024}
        label = "fp32, raw and standardised" if has_scale else "fp32, raw"
        yield Case(sketch.count_bits, label, pointers, settings, 4, (), ("numel", "span"))
    for rule in RULES:
        pointers = dict.fromkeys(("grad", "first", "second", "scale"), "*fp32")
        floats = ("decay_first", "decay_second")
        settings = {"RULE": rule, "BLOCK": 2048}
        yield Case(entrywise.remedied_moments, f"fp32, {rule}", pointers, settings, 8, floats, ("numel",))


def _cuobjdump(cubin: bytes, flag: str) -> str:
    from triton import knobs  # noqa: PLC0415, RUF100

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, flag, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _load_widths(code: str) -> list[str]:
    return [
        next((part for part in load.split(".") if part in ("128", "64", "U16", "U8")), "32")
        for load in re.findall(r"\b(?:LDG|LDGSTS)\.[\w.]+", code)
    ]
