"""Counting float32 bits: values and standardised values in one pass."""
# pyright: basic
# ruff: noqa: N803

import triton
import triton.language as tl


@triton.jit
def count_bits(
    values, scale, counts, zeros, numel, span, COPIES: tl.constexpr, HAS_SCALE: tl.constexpr, BLOCK: tl.constexpr
):
    """Add a span of values into one of several copies of the buckets.

    Counts are integers, whose sum does not depend on the order in which atomics arrive. Grid (programs,). ``counts`` is
    (kinds, copies, 2¹⁷), ``zeros`` (kinds, programs).
    """
    program = tl.program_id(0)
    own = counts + (program % COPIES) * 131072
    none, none_standardised = tl.zeros([BLOCK], dtype=tl.int32), tl.zeros([BLOCK], dtype=tl.int32)
    first = program.to(tl.int64) * span
    last = tl.minimum(first + span, numel)
    for start in range(first, last, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < last
        v = tl.load(values + at, mask=inside, other=0.0).to(tl.float32)
        _add(own, v, inside)
        none += (inside & (v == 0.0)).to(tl.int32)
        if HAS_SCALE:
            # Rounded as IEEE has it, else a value near the end of a bucket could fall into the next.
            divided = tl.div_rn(v, tl.load(scale + at, mask=inside, other=1.0).to(tl.float32))
            _add(own + COPIES * 131072, divided, inside)
            none_standardised += (inside & (divided == 0.0)).to(tl.int32)
    tl.store(zeros + program, tl.sum(none))
    if HAS_SCALE:
        tl.store(zeros + tl.num_programs(0) + program, tl.sum(none_standardised))


@triton.jit
def _add(counts, v, inside):
    bucket = (v.to(tl.int32, bitcast=True) >> 15) & 131071
    tl.atomic_add(counts + bucket, 1, mask=inside & (v != 0.0), sem="relaxed")
