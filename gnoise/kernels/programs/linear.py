r"""Squared Frobenius norms of per-example products $\sum_t g_{it} x_{it}^\top$, tile by tile, none written out."""
# pyright: basic
# ruff: noqa: N803

import triton
import triton.language as tl


@triton.jit
def outer_sq_norms(
    grad,
    x,
    parts,
    tokens,
    outputs,
    inputs,
    grad_example,
    grad_token,
    x_example,
    x_token,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """Form a tile of one example's weight gradient in registers and square it.

    Grid (examples, tiles of outputs, tiles of inputs), a sum each.
    """
    example = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * OUT + tl.arange(0, OUT)
    cols = tl.program_id(2) * IN + tl.arange(0, IN)
    formed = tl.zeros([OUT, IN], dtype=tl.float32)
    for start in range(0, tokens, TOKENS):
        at = (start + tl.arange(0, TOKENS)).to(tl.int64)
        left = grad + example * grad_example + at[None, :] * grad_token + rows[:, None]
        right = x + example * x_example + at[:, None] * x_token + cols[None, :]
        g = tl.load(left, mask=(at < tokens)[None, :] & (rows < outputs)[:, None], other=0.0)
        v = tl.load(right, mask=(at < tokens)[:, None] & (cols < inputs)[None, :], other=0.0)
        formed = tl.dot(g, v, formed, input_precision="tf32x3")
    place = (example * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(2) + tl.program_id(2)
    tl.store(parts + place, tl.sum(tl.sum(formed * formed, axis=1), axis=0))


@triton.jit
def gram_sq_norms(
    grad,
    x,
    parts,
    tokens,
    outputs,
    inputs,
    grad_example,
    grad_token,
    x_example,
    x_token,
    TOKENS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    r"""Multiply a tile of $x x^\top$ with the same tile of $g g^\top$, both tokens × tokens.

    Grid (examples, tiles of tokens, tiles of tokens), a sum each; tiles right of the diagonal count twice and those
    left of it not at all.
    """
    example = tl.program_id(0).to(tl.int64)
    row, col = tl.program_id(1), tl.program_id(2)
    place = (example * tl.num_programs(1) + row) * tl.num_programs(2) + col
    if row <= col:
        rows = row * TOKENS + tl.arange(0, TOKENS)
        cols = col * TOKENS + tl.arange(0, TOKENS)
        of_x = _gram(x + example * x_example, rows, cols, tokens, inputs, x_token, TOKENS, FEATURES)
        of_grad = _gram(grad + example * grad_example, rows, cols, tokens, outputs, grad_token, TOKENS, FEATURES)
        total = tl.sum(tl.sum(of_x * of_grad, axis=1), axis=0)
        tl.store(parts + place, tl.where(row == col, total, 2.0 * total))
    else:
        tl.store(parts + place, 0.0)


@triton.jit
def _gram(of, rows, cols, tokens, features, token, TOKENS: tl.constexpr, FEATURES: tl.constexpr):
    made = tl.zeros([TOKENS, TOKENS], dtype=tl.float32)
    for start in range(0, features, FEATURES):
        at = start + tl.arange(0, FEATURES)
        left = of + rows.to(tl.int64)[:, None] * token + at[None, :]
        right = of + cols.to(tl.int64)[None, :] * token + at[:, None]
        a = tl.load(left, mask=(rows < tokens)[:, None] & (at < features)[None, :], other=0.0)
        b = tl.load(right, mask=(cols < tokens)[None, :] & (at < features)[:, None], other=0.0)
        made = tl.dot(a, b, made, input_precision="tf32x3")
    return made
