r"""LayerNorm's and RMSNorm's backward: $dx$, and what $d\gamma$, $d\beta$ and their per-example norms are made of.

With $\hat x = (x - \mu) r$ and $h = \gamma \odot g$, $dx = r (h - \hat x\, \overline{h \hat x} - \overline{h})$ and an
example's $d\gamma_i = \sum_t g_t \odot \hat x_t$, $d\beta_i = \sum_t g_t$. RMSNorm has $\mu = 0$ and no $\overline{h}$.

A program owns some tokens of one example and sums over them in registers; its sums go to a place of their own, and a
second kernel adds them up in a fixed order. No float is added by atomics, so that every run has the same bits.
"""
# pyright: basic
# ruff: noqa: N803

import triton
import triton.language as tl


@triton.jit
def norm_backward(
    grad,
    x,
    weight,
    dx,
    partials,
    row_sq_norms,
    arrivals,
    tokens,
    features,
    chunk,
    eps,
    grad_example,
    grad_token,
    x_example,
    x_token,
    CENTERED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ROW_IS_EXAMPLE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Read x and its output's gradient once, whole rows at a time; write dx and this program's sums.

    Grid (examples, chunks). Where an example is one row, all of them come as one "example" of many tokens, and each
    row's squared norms are stored here.
    """
    example, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    _clear(arrivals)
    cols = tl.arange(0, BLOCK)[None, :]
    in_row = cols < features
    w = tl.load(weight + cols, mask=in_row, other=0.0).to(tl.float32)
    dweight = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
    dbias = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
    end = tl.minimum(part * chunk + chunk, tokens)
    for start in tl.range(part * chunk, end, ROWS, num_stages=STAGES):
        rows = start + tl.arange(0, ROWS)[:, None]
        inside = (rows < end) & in_row
        at = rows.to(tl.int64)
        g = tl.load(grad + example * grad_example + at * grad_token + cols, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(x + example * x_example + at * x_token + cols, mask=inside, other=0.0).to(tl.float32)
        if CENTERED:
            v -= (tl.sum(v, axis=1) / features)[:, None]
            v = tl.where(inside, v, 0.0)
        rstd = tl.rsqrt(tl.sum(v * v, axis=1) / features + eps)[:, None]
        # Rows past the end would be 0 · ∞ where eps is 0.
        normed = tl.where(inside, v * rstd, 0.0)
        scaled = w * g
        change = scaled - normed * (tl.sum(scaled * normed, axis=1) / features)[:, None]
        if CENTERED:
            change -= (tl.sum(scaled, axis=1) / features)[:, None]
        out = (change * rstd).to(dx.dtype.element_ty)
        tl.store(dx + (example * tokens + at) * features + cols, out, mask=inside)
        product = g * normed
        dweight += product
        if HAS_BIAS:
            dbias += g
        if ROW_IS_EXAMPLE:
            row = start + tl.arange(0, ROWS)
            tl.store(row_sq_norms + row, tl.sum(product * product, axis=1), mask=row < end)
            if HAS_BIAS:
                tl.store(row_sq_norms + tokens + row, tl.sum(g * g, axis=1), mask=row < end)
    kinds: tl.constexpr = 2 if HAS_BIAS else 1
    to = partials + (example * tl.num_programs(1) + part) * kinds * features + tl.arange(0, BLOCK)
    in_vector = tl.arange(0, BLOCK) < features
    tl.store(to, tl.sum(dweight, axis=0), mask=in_vector)
    if HAS_BIAS:
        tl.store(to + features, tl.sum(dbias, axis=0), mask=in_vector)


@triton.jit
def row_statistics(
    grad,
    x,
    weight,
    statistics,
    tokens,
    features,
    eps,
    grad_example,
    grad_token,
    x_example,
    x_token,
    CENTERED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute μ, r and the two means in dx for one row that is too wide for registers.

    Grid (examples · tokens,). The row is read again from a cache.
    """
    row = tl.program_id(0).to(tl.int64)
    x += (row // tokens) * x_example + (row % tokens) * x_token
    grad += (row // tokens) * grad_example + (row % tokens) * grad_token
    mean = 0.0
    if CENTERED:
        total = tl.zeros([BLOCK], dtype=tl.float32)
        for start in range(0, features, BLOCK):
            cols = start + tl.arange(0, BLOCK)
            total += tl.load(x + cols, mask=cols < features, other=0.0).to(tl.float32)
        mean = tl.sum(total) / features
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    along = tl.zeros([BLOCK], dtype=tl.float32)
    level = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, features, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        inside = cols < features
        v = tl.load(x + cols, mask=inside, other=0.0).to(tl.float32)
        v = tl.where(inside, v - mean, 0.0)
        scaled = tl.load(grad + cols, mask=inside, other=0.0).to(tl.float32)
        scaled *= tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
        squares += v * v
        along += scaled * v
        level += scaled
    rstd = tl.rsqrt(tl.sum(squares) / features + eps)
    tl.store(statistics + 4 * row, mean)
    tl.store(statistics + 4 * row + 1, rstd)
    tl.store(statistics + 4 * row + 2, tl.sum(along) / features * rstd)
    tl.store(statistics + 4 * row + 3, tl.sum(level) / features)


@triton.jit
def wide_norm_backward(
    grad,
    x,
    weight,
    dx,
    partials,
    statistics,
    arrivals,
    tokens,
    features,
    chunk,
    grad_example,
    grad_token,
    x_example,
    x_token,
    CENTERED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Do what ``norm_backward`` does for some of the features, given every row's statistics.

    Grid (examples, chunks, blocks of features).
    """
    example, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    _clear(arrivals)
    cols = (tl.program_id(2) * BLOCK + tl.arange(0, BLOCK))[None, :]
    in_row = cols < features
    w = tl.load(weight + cols, mask=in_row, other=0.0).to(tl.float32)
    dweight = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
    dbias = tl.zeros([ROWS, BLOCK], dtype=tl.float32)
    end = tl.minimum(part * chunk + chunk, tokens)
    for start in tl.range(part * chunk, end, ROWS, num_stages=STAGES):
        rows = start + tl.arange(0, ROWS)[:, None]
        inside = (rows < end) & in_row
        at = rows.to(tl.int64)
        g = tl.load(grad + example * grad_example + at * grad_token + cols, mask=inside, other=0.0).to(tl.float32)
        v = tl.load(x + example * x_example + at * x_token + cols, mask=inside, other=0.0).to(tl.float32)
        of_row = statistics + 4 * (example * tokens + at)
        rstd = tl.load(of_row + 1, mask=rows < end, other=0.0)
        if CENTERED:
            v -= tl.load(of_row, mask=rows < end, other=0.0)
        normed = tl.where(inside, v * rstd, 0.0)
        change = w * g - normed * tl.load(of_row + 2, mask=rows < end, other=0.0)
        if CENTERED:
            change -= tl.load(of_row + 3, mask=rows < end, other=0.0)
        out = (change * rstd).to(dx.dtype.element_ty)
        tl.store(dx + (example * tokens + at) * features + cols, out, mask=inside)
        dweight += g * normed
        if HAS_BIAS:
            dbias += g
    kinds: tl.constexpr = 2 if HAS_BIAS else 1
    here = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    to = partials + (example * tl.num_programs(1) + part) * kinds * features + here
    tl.store(to, tl.sum(dweight, axis=0), mask=here < features)
    if HAS_BIAS:
        tl.store(to + features, tl.sum(dbias, axis=0), mask=here < features)


@triton.jit
def reduce_partials(
    partials,
    totals,
    sq_parts,
    sq_norms,
    arrivals,
    examples,
    chunks,
    features,
    group,
    EXAMPLES: tl.constexpr,
    CHUNKS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Add an example's chunks up, square, and add examples up, for some features of dγ or dβ.

    Grid (blocks of features, groups of examples, kinds). ``partials`` is (examples, chunks, kinds, features),
    ``totals`` (groups, kinds, features), ``sq_parts`` (kinds, examples, blocks), ``sq_norms`` (kinds, examples). The
    last program of a group and kind adds the blocks of ``sq_parts`` up; which one that is changes nothing in the sum.
    """
    block, band, kind = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    blocks, kinds = tl.num_programs(0), tl.num_programs(2)
    cols = block * COLS + tl.arange(0, COLS)
    total = tl.zeros([EXAMPLES, COLS], dtype=tl.float32)
    begin, last = band * group, tl.minimum(band * group + group, examples)
    for first in range(begin, last, EXAMPLES):
        rows = first + tl.arange(0, EXAMPLES)
        summed = tl.zeros([EXAMPLES, COLS], dtype=tl.float32)
        for start in range(0, chunks, CHUNKS):
            part = start + tl.arange(0, CHUNKS)
            at = ((rows.to(tl.int64)[:, None] * chunks + part[None, :]) * kinds + kind) * features
            inside = (rows < last)[:, None, None] & (part < chunks)[None, :, None] & (cols < features)[None, None, :]
            summed += tl.sum(tl.load(partials + at[:, :, None] + cols[None, None, :], mask=inside, other=0.0), axis=1)
        total += summed
        to = sq_parts + (kind.to(tl.int64) * examples + rows) * blocks + block
        tl.store(to, tl.sum(summed * summed, axis=1), mask=rows < last)
    tl.store(totals + (band * kinds + kind) * features + cols, tl.sum(total, axis=0), mask=cols < features)
    tl.debug_barrier()  # every thread has stored before the program says that it is done
    if tl.atomic_add(arrivals + kind * tl.num_programs(1) + band, 1) == blocks - 1:
        _add_blocks(sq_parts + kind.to(tl.int64) * examples * blocks, sq_norms + kind * examples, begin, last, blocks)


@triton.jit
def _add_blocks(sq_parts, sq_norms, begin, last, blocks):
    """Sum every example's blocks, past the first-level cache, which may hold what was there before."""
    for first in range(begin, last, 8):
        rows = first + tl.arange(0, 8)
        summed = tl.zeros([8], dtype=tl.float32)
        for start in range(0, blocks, 128):
            part = start + tl.arange(0, 128)
            at = sq_parts + rows.to(tl.int64)[:, None] * blocks + part[None, :]
            inside = (rows < last)[:, None] & (part < blocks)[None, :]
            summed += tl.sum(tl.load(at, mask=inside, other=0.0, cache_modifier=".cg"), axis=1)
        tl.store(sq_norms + rows, summed, mask=rows < last)


@triton.jit
def _clear(arrivals):
    """Set the counters to zero that ``reduce_partials`` will count its programs with."""
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0) & (tl.program_id(2) == 0):
        tl.store(arrivals + tl.arange(0, 128), tl.zeros([128], dtype=tl.int32))
