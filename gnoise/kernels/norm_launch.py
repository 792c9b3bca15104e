"""What LayerNorm's and RMSNorm's backward share: checks of what comes in, and the launch of the Triton programs."""
# pyright: reportCallIssue=false
# Triton takes num_warps and the like beside what a program is written with.

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gnoise.errors import UserError
from gnoise.kernels.choice import multiprocessors, shared_memory

WIDEST = 8192
"""Features of a row that one program still holds in registers."""
_WIDE_BLOCK = 1024
"""Features that a program takes of a row too wide for it."""
_TILE = 8192
"""Values of a tensor that the programs of one multiprocessor take in a turn."""
_SUMS = 16 << 10
"""Bytes of shared memory that sums over rows take, and more."""
_ARRIVALS = 128
"""Counters for programs: one for each band of examples and kind."""
_WARPS = 16
"""Warps a multiprocessor holds at 128 registers a thread."""
_OVERHEAD = 4
"""Rows that a program's start and its sums cost."""


@dataclass(frozen=True)
class Rows:
    """A call's tensors with examples, tokens and features as their three axes.

    Attributes:
        grad: gradient of the output, (examples, tokens, features).
        x: input, likewise.
        weight: (features,).
    """

    grad: Tensor
    x: Tensor
    weight: Tensor

    @property
    def wide_dtype(self) -> torch.dtype:
        """Statistics and sums are made in it: float32, or float64 for float64."""
        return torch.promote_types(self.x.dtype, torch.float32)


@dataclass(frozen=True)
class Sums:
    """What becomes of a normalisation layer's parameters.

    Attributes:
        dx: (examples, tokens, features), of x's type.
        grads: (kinds, features): of the weight and, where there is one, of the bias.
        sq_norms: (kinds, examples).
    """

    dx: Tensor
    grads: Tensor
    sq_norms: Tensor


@dataclass(frozen=True)
class Plan:
    """How a call is cut into programs.

    Attributes:
        rows: tokens a program takes at a time.
        block: features, rounded up to a power of two.
        warps: of a program.
        chunk: tokens of one program.
        chunks: programs an example.
    """

    rows: int
    block: int
    warps: int
    chunk: int
    chunks: int


def as_rows(
    grad_out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, example_weights: Tensor | None
) -> Rows:
    """Check a call and look at its tensors as examples × tokens × features.

    Raises:
        UserError: shapes, devices or settings that do not fit each other.
    """
    sides = weight.ndim
    if sides == 0 or x.ndim <= sides or x.shape[-sides:] != weight.shape:
        raise UserError(
            f"expected x of shape (examples, ..., {', '.join(map(str, weight.shape)) or 'features'}), got "
            f"{tuple(x.shape)} for a weight of shape {tuple(weight.shape)}; try x.unsqueeze(0) for a single example"
        )
    if grad_out.shape != x.shape:
        raise UserError(
            f"expected grad_out of x's shape {tuple(x.shape)}, got {tuple(grad_out.shape)}; "
            "try the gradient of the layer's output"
        )
    if bias is not None and bias.shape != weight.shape:
        raise UserError(f"expected bias of the weight's shape, got {tuple(bias.shape)}; try bias=None")
    if not all(t.is_floating_point() for t in (grad_out, x, weight)):
        raise UserError(f"expected floating-point tensors, got {x.dtype} for x; try x.float()")
    if not all(t.device == x.device for t in (grad_out, weight)):
        raise UserError(
            f"expected all tensors on {x.device}, got {grad_out.device} and {weight.device}; try .to(x.device)"
        )
    if not eps >= 0.0:
        raise UserError(f"expected eps of 0 or more, got {eps}; try eps=1e-5")
    if example_weights is not None and example_weights.shape != x.shape[:1]:
        raise UserError(
            f"expected one weight for each of {len(x)} examples, got shape {tuple(example_weights.shape)}; "
            "try example_weights=None"
        )
    shape = (len(x), _count(x, sides), weight.numel())
    return Rows(grad_out.detach().reshape(shape), x.detach().reshape(shape), weight.detach().reshape(-1))


def per_unit_weight(sq_norms: Tensor, example_weights: Tensor | None) -> Tensor:
    """Divide squared norms, examples last, by the squared weights that are in the gradients."""
    if example_weights is None:
        return sq_norms
    return sq_norms / example_weights.to(sq_norms).square()


@torch.no_grad()
def run_norm_backward(rows: Rows, *, eps: float, centered: bool, has_bias: bool) -> Sums:
    """Launch the Triton programs.

    Args:
        rows: features of stride 1 or they are copied; any other strides are read as they lie.
        eps: added to the mean square.
        centered: LayerNorm, else RMSNorm.
        has_bias: whether dβ is wanted.
    """
    from gnoise.kernels.programs import norms  # noqa: PLC0415, RUF100

    examples, tokens, features = rows.x.shape
    kinds = 2 if has_bias else 1
    x, grad = _row_major(rows.x), _row_major(rows.grad)
    weight = rows.weight.contiguous()
    dx = torch.empty((examples, tokens, features), dtype=x.dtype, device=x.device)
    if dx.numel() == 0:
        zero = torch.zeros((kinds, features + examples), device=x.device)
        return Sums(dx, zero[:, :features], zero[:, features:])
    wide = is_wide(features)
    one_each = tokens == 1 and not wide
    shape, strides = (examples, tokens), (grad.stride(0), grad.stride(1), x.stride(0), x.stride(1))
    if one_each:
        shape, strides = (1, examples), (0, grad.stride(0), 0, x.stride(0))
    plan = plan_programs(*shape, features, multiprocessors(x.device))
    partials = x.new_empty((shape[0], plan.chunks, kinds, features), dtype=torch.float32)
    row_sq_norms = x.new_empty((kinds, examples if one_each else 0), dtype=torch.float32)
    arrivals = torch.empty(_ARRIVALS, dtype=torch.int32, device=x.device)
    settings = {"CENTERED": centered, "HAS_BIAS": has_bias, "ROWS": plan.rows, "BLOCK": plan.block}
    settings["STAGES"] = stages(features, x.element_size() + grad.element_size(), shared_memory(x.device))
    with torch.cuda.device_of(x):
        if wide:
            statistics = x.new_empty((examples * tokens, 4), dtype=torch.float32)
            norms.row_statistics[(examples * tokens,)](
                grad, x, weight, statistics, tokens, features, eps, *strides, CENTERED=centered, BLOCK=2048, num_warps=8
            )
            norms.wide_norm_backward[(*_grid(partials), -(-features // plan.block))](
                grad, x, weight, dx, partials, statistics, arrivals, tokens, features, plan.chunk, *strides,
                **settings, num_warps=plan.warps,
            )  # fmt: skip
        else:
            norms.norm_backward[_grid(partials)](
                grad, x, weight, dx, partials, row_sq_norms, arrivals, shape[1], features, plan.chunk, eps, *strides,
                **settings, ROW_IS_EXAMPLE=one_each, num_warps=plan.warps,
            )  # fmt: skip
        grads, sq_norms = _reduced(partials, arrivals)
    return Sums(dx, grads, row_sq_norms if one_each else sq_norms)


def is_wide(features: int) -> bool:
    """Say whether a row does not fit a program's registers; an odd one, whose values are loaded singly, sooner."""
    return features > (WIDEST if features % 16 == 0 else WIDEST // 2)


@cache
def plan_programs(examples: int, tokens: int, features: int, processors: int) -> Plan:
    """Cut a call into programs that keep all multiprocessors busy to the end.

    Args:
        examples: each has programs of its own.
        tokens: of an example.
        features: of a token.
        processors: multiprocessors there are.
    """
    block = 1 << (features - 1).bit_length()
    if is_wide(features):
        block = _WIDE_BLOCK
    rows = max(1, min(_tile(block, features) // block, 1 << (tokens - 1).bit_length()))
    # Values that must be loaded one by one take an address register each: fewer of them a thread.
    of_thread = 16 if features % 16 == 0 else 8
    warps = min(_WARPS, max(1, rows * block // (32 * of_thread)))
    slots = processors * (_WARPS // warps)
    if is_wide(features):
        slots = max(1, slots // -(-features // block))
    most = min(-(-tokens // rows), max(1, 4 * slots // examples))

    def seconds(chunks: int) -> int:
        return -(-examples * chunks // slots) * (-(-tokens // (chunks * rows)) * rows + _OVERHEAD)

    best = min(range(1, most + 1), key=seconds)
    chunk = -(-tokens // (best * rows)) * rows
    return Plan(rows, block, warps, chunk, -(-tokens // chunk))


def _tile(block: int, features: int) -> int:
    """Choose how many values a program takes at a time.

    Two rows, each spread over all warps with eight values a thread: where warps share rows out among themselves, the
    compiler rearranges sums between them and takes half as many registers again. Four rows and more only where a row
    is shorter than a warp.
    """
    if block <= 64:
        return 2048
    return min(max(512, 2 * block), max(_TILE if features % 16 == 0 else _TILE // 2, block))


def stages(features: int, value_bytes: int, shared: int) -> int:
    """Choose how many turns' loads are under way, this one's included.

    Three, or four where rows of more than 1,024 features are padded to a power of two, for then a turn has fewer bytes;
    two where shared memory does not hold more, or values are loaded one by one, past it.

    Args:
        features: of a row.
        value_bytes: of an entry of x and one of the gradient.
        shared: bytes of shared memory of a multiprocessor.
    """
    if features % 16:
        return 2
    wanted = 4 if features > 1024 and features & (features - 1) else 3
    return max(2, min(wanted, 1 + (shared - _SUMS) // (_TILE * value_bytes)))


def _reduced(partials: Tensor, arrivals: Tensor) -> tuple[Tensor, Tensor]:
    """Add programs' sums up, in an order that depends on shapes alone: (kinds, features) and (kinds, examples)."""
    from gnoise.kernels.programs import norms  # noqa: PLC0415, RUF100

    examples, chunks, kinds, features = partials.shape
    cols = 32
    at_once = min(8, 1 << (examples - 1).bit_length())
    chunks_at_once = min(128 // at_once, 1 << (chunks - 1).bit_length())
    bands = min(_ARRIVALS // 2, -(-examples // 64))
    group = -(-examples // bands)
    blocks = -(-features // cols)
    totals = partials.new_empty((bands, kinds, features))
    sq_parts, sq_norms = partials.new_empty((kinds, examples, blocks)), partials.new_empty((kinds, examples))
    norms.reduce_partials[(blocks, bands, kinds)](
        partials, totals, sq_parts, sq_norms, arrivals, examples, chunks, features, group,
        EXAMPLES=at_once, CHUNKS=chunks_at_once, COLS=cols, num_warps=4,
    )  # fmt: skip
    return totals.sum(0) if bands > 1 else totals[0], sq_norms


def _grid(partials: Tensor) -> tuple[int, int]:
    return partials.shape[0], partials.shape[1]


def _row_major(x: Tensor) -> Tensor:
    return x if x.stride(2) == 1 or x.shape[2] == 1 else x.contiguous()


def _count(x: Tensor, sides: int) -> int:
    count = 1
    for side in x.shape[1 : x.ndim - sides]:
        count *= side
    return count
