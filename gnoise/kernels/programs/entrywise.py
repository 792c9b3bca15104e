"""An entry-wise rule and Adam's moments in one pass over a tensor."""
# pyright: basic
# ruff: noqa: N803

import triton
import triton.language as tl


@triton.jit
def remedied_moments(
    grad, first, second, scale, numel, decay_first, decay_second, RULE: tl.constexpr, BLOCK: tl.constexpr
):
    """Read gradient and moments once, write the moments once. Grid (blocks of entries,)."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numel
    x = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(first + at, mask=inside, other=0.0).to(tl.float32)
    v = tl.load(second + at, mask=inside, other=0.0).to(tl.float32)
    limit = tl.load(scale)
    if RULE == "clip_value":
        x = tl.clamp(x, -limit, limit, propagate_nan=tl.PropagateNan.ALL)
    else:
        ratio = x / limit
        square = ratio * ratio
        if RULE == "rational":
            x = x / (1.0 + square)
        elif RULE == "quartic":
            x = x / (1.0 + square * square)
        else:
            x = x * tl.rsqrt(1.0 + square)
    m += (1.0 - decay_first) * (x - m)
    v = decay_second * v + (1.0 - decay_second) * x * x
    tl.store(first + at, m.to(first.dtype.element_ty), mask=inside)
    tl.store(second + at, v.to(second.dtype.element_ty), mask=inside)
