"""Are the kernels right on a GPU: against float64, against themselves, and in a model. Does nothing alone.

:mod:`kernels_gpu` runs it.
"""

import itertools

import torch
from gpu_clock import DEVICE
from gpu_rows import EPS, Report, Result, norm_inputs, shape_words
from torch import Tensor

from gnoise.collect.singular import bidiagonalise, golub_kahan
from gnoise.kernels import (
    Order,
    layer_norm_backward,
    per_example_linear_norms,
    rms_norm_backward,
    sketch,
    use_fused_norms,
)
from gnoise.kernels.layer_norm import layer_norm_backward_reference
from gnoise.kernels.linear_norms import per_example_linear_norms_reference
from gnoise.kernels.rms_norm import rms_norm_backward_reference
from gnoise.kernels.sketch import sketch_reference
from gnoise.models.gpt import GPT, GPTConfig


def parity(report: Report, *, quick: bool) -> None:
    """Hold every kernel against float64 on the device, and the norm layers' against itself a hundred times."""
    print("parity", flush=True)
    sizes = (1, 3, 127, 1025) if quick else (1, 3, 127, 1023, 1025, 4095, 4096, 8191, 8192, 16384)
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    tolerance = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}
    errors: dict[str, float] = {}
    rows = ((5,), (3, 7), (2, 3, 40))
    cases = [((*leading, size), dtype) for size, dtype, leading in itertools.product(sizes, dtypes, rows)]
    for (shape, dtype), centered in itertools.product([*cases, (_many(quick), torch.bfloat16)], (True, False)):
        dx, sums = _norm_errors(shape, dtype, centered)
        errors[f"{'LayerNorm' if centered else 'RMSNorm'} {shape_words(shape)} {dtype}"] = max(
            dx / tolerance[dtype], sums / 2e-6
        )
    for dtype, order in itertools.product(dtypes, Order):
        g, x = (torch.randn(3, 300, side, device=DEVICE).to(dtype) for side in (130, 257))
        found = per_example_linear_norms(g, x, order=order)[0]
        true = per_example_linear_norms_reference(g.double(), x.double(), order=order)[0]
        errors[f"linear norms, {order} first, {dtype}"] = float((found - true).norm() / true.norm()) / 5e-6
    report.details["errors over tolerance"] = errors
    worst = max(errors, key=lambda name: errors[name])
    print(f"   worst: {worst}, {errors[worst]:.3f} of its tolerance")
    report.add(Result("parity with float64", f"{len(errors)} cases", holds=errors[worst] <= 1.0))
    values = torch.randn(1 << (14 if quick else 24), device=DEVICE) * 1e-3
    scale = torch.rand_like(values) + 0.1
    pairs = list(zip(sketch(values, scale), sketch_reference(values, scale), strict=True))
    exact = all(torch.equal(x, y) for a, b in pairs if a and b for x, y in zip(a, b, strict=True))
    report.add(Result("sketch exact", f"{values.numel()} values", holds=exact))
    repeated(report, quick=quick)
    fused_parity(report)
    singular_parity(report, quick=quick)


def repeated(report: Report, *, quick: bool) -> None:
    """Hold the norm layers' backward against itself a hundred times, over many tokens and over many examples."""
    for shape in ((1, 2048, 96) if quick else (1, 1 << 20, 768), _many(quick)):
        x, g, w = norm_inputs(shape, torch.bfloat16)
        first = layer_norm_backward(g, x, w, w, eps=EPS)
        same = all(
            torch.equal(a, b)
            for _ in range(3 if quick else 99)
            for a, b in zip(first, layer_norm_backward(g, x, w, w, eps=EPS), strict=True)
            if a is not None and b is not None
        )
        report.add(Result("same bits in 100 runs", f"{shape_words(shape)} bf16", holds=same))


def fused_parity(report: Report) -> None:
    """Hold a GPT's gradients and norms under fused norms against the bare model's, example by example."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=64, vocab_size=256, n_layer=2, n_head=4, n_embd=128)).to(DEVICE)
    tokens = torch.randint(0, 256, (6, 65), device=DEVICE)

    def differentiate(of: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        model(of[:, :-1], of[:, 1:])[1].backward()
        return {name: x.grad.clone() for name, x in model.named_parameters() if x.grad is not None}

    alone = [differentiate(tokens[i : i + 1]) for i in range(len(tokens))]
    bare = differentiate(tokens)
    with use_fused_norms(model) as norms:
        fused, found = differentiate(tokens), norms.take()
    expected = {name: torch.stack([grads[name].square().sum() for grads in alone]) for name in found}
    pairs = [(fused[name], grad) for name, grad in bare.items()] + [(found[name], expected[name]) for name in found]
    worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    report.details["fused norms, largest relative error"] = worst
    report.add(Result("fused norms in a GPT", f"{len(pairs)} gradients and norms", holds=worst <= 1e-4))


def singular_parity(report: Report, *, quick: bool) -> None:
    """Hold the replayed search for largest singular values against a CPU's, two matrices of a shape in turn."""
    worst = 0.0
    for shape in ((300, 400),) if quick else ((768, 768), (3072, 768), (768, 3072)):
        for seed in range(2):
            matrix = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            here, there = (golub_kahan(x, torch.Generator().manual_seed(9))[0] for x in (matrix, matrix.to(DEVICE)))
            worst = max(worst, abs(there / here - 1.0))
    bidiagonalise.clear()
    report.details["singular values, largest relative difference from a CPU's"] = worst
    report.add(Result("largest singular values", "as on a CPU", holds=worst <= 1e-4))


def _many(quick: bool) -> tuple[int, ...]:
    """Give a shape with enough examples to be added up in several bands."""
    return (150, 2, 96) if quick else (5000, 2, 768)


def _norm_errors(shape: tuple[int, ...], dtype: torch.dtype, centered: bool) -> tuple[float, float]:
    """Relative errors of dx and of the sums, each against the size of the terms it is a sum of."""
    x, g, w = norm_inputs(shape, dtype)
    wide = [t.double() for t in (g, x, w)]
    if centered:
        found = layer_norm_backward(g, x, w, w, eps=EPS)
        true = layer_norm_backward_reference(*wide, wide[2], eps=EPS)
    else:
        found, true = rms_norm_backward(g, x, w, eps=EPS), rms_norm_backward_reference(*wide, eps=EPS)
    v = wide[1] - wide[1].mean(-1, keepdim=True) if centered else wide[1]
    terms = wide[0] * wide[2] * torch.rsqrt(v.square().mean(-1, keepdim=True) + EPS)
    pairs = [(a.double(), b) for a, b in zip(found, true, strict=True) if a is not None and b is not None]
    gradients, norms = pairs[1 : len(pairs) // 2 + 1], pairs[len(pairs) // 2 + 1 :]
    sums = [*gradients, *((a.sqrt(), b.sqrt()) for a, b in norms)]
    (dx, expected), size = pairs[0], wide[0].norm()
    return float((dx - expected).norm() / terms.norm()), max(float((a - b).norm() / size) for a, b in sums)
