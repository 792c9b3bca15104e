"""The kernels on one NVIDIA GPU: are they right, how near to the card's memory bandwidth, what they add to training.

    PYTHONPATH=. python benchmarks/kernels_gpu.py           # under 8 minutes; a table last, and in benchmarks/results
    PYTHONPATH=. python benchmarks/kernels_gpu.py --tune    # other tiles and pipeline depths of the norm layers, too

Needs torch and Triton; Liger is measured where it is installed. Times are medians of graph replays over inputs that no
cache holds. "of copy" is the bytes that must move (x and the output's gradient read, dx written) over the time,
whatever a version really moves, as a share of what a plain copy of half a gigabyte reaches on the same card, by its
copy engine or by a kernel, whichever is faster; "same size": of a copy that moves as many bytes. The other columns are
our time over theirs. Without a GPU, --quick rehearses everything at tiny sizes, and no table says more than "not yet
measured".
"""

import argparse
import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

import kernels_training
import torch
from gpu_clock import CUDA, DEVICE, copies_for, copy_bandwidth, launched_seconds, seconds
from kernels_training import Result
from report import RESULTS, Cell, publish
from torch import Tensor
from torch.nn import functional

from gnoise.collect.singular import bidiagonalise, golub_kahan
from gnoise.kernels import (
    Order,
    layer_norm_backward,
    norm_launch,
    per_example_linear_norms,
    remedied_adam_moments_,
    rms_norm_backward,
    sketch,
    use_fused_norms,
)
from gnoise.kernels.layer_norm import layer_norm_backward_reference
from gnoise.kernels.linear_norms import per_example_linear_norms_reference
from gnoise.kernels.rms_norm import rms_norm_backward_reference
from gnoise.kernels.sketch import sketch_reference
from gnoise.models.gpt import GPT, GPTConfig

NORM_SHAPES = {
    "GPT-2 small": (8, 1024, 768),
    "GPT-2 XL": (8, 1024, 1600),
    "Llama 7B": (4, 2048, 4096),
    "Llama 13B": (4, 2048, 5120),
    "Llama 70B": (2, 4096, 8192),
}
OTHERS = ("torch", "torch.compile", "Liger")
COLUMNS = ("what", "shape", "ms", "of copy", "same size", *(f"/ {other}" for other in OTHERS), "bar holds")
EPS = 1e-5
OF_COPY = 0.85
"""The bar."""
_NOT_YET = "not yet measured"
_OF_EVERY_RUN = ("benchmark", "machine", "versions", "settings", "notes", "table")


@dataclass
class Report:
    """Rows of the table, and everything behind them."""

    results: list[Result] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Add a row, and say so."""
        self.results.append(result)
        print("  ", *(cell for cell in _row(result) if cell is not None), flush=True)


def main() -> None:
    """Measure everything the time allows and write the table."""
    options = _options()
    if not CUDA and not options.quick:
        _nothing_measured()
        return
    started = time.perf_counter()
    report = Report()
    bandwidth = copy_bandwidth()
    report.details["copy_bytes_per_second"] = bandwidth
    for name, stage in _stages(bandwidth, quick=options.quick).items():
        spent = time.perf_counter() - started
        if name in options.stages and spent > options.budget - 60.0:
            print(f"left out after {spent:.0f} s: {name}")
        elif name in options.stages:
            stage(report)
    if options.tune:
        tune(report, bandwidth)
    took = time.perf_counter() - started
    held, details = _held({result.what for result in report.results})
    publish(
        "kernels_gpu",
        notes=[
            f"A plain copy on this card moves {bandwidth / 1e12:.2f} TB/s, read and written.",
            f"Bars: norm layers at least {OF_COPY} of copy and at most 1 / torch; a training step with fused norms",
            f"at most {kernels_training.BAR_STEP} / torch, a whole profile {kernels_training.BAR_PROFILE} / torch.",
            *(["Rows were not all measured in one run; ratios were."] if held else []),
        ],
        settings={"device": _device(), "torch": torch.__version__, "seconds": round(took)},
        columns=COLUMNS,
        rows=[*(_row(result) for result in report.results), *held],
        details=details | report.details,
        save=not options.quick,
    )


def _stages(bandwidth: float, *, quick: bool) -> dict[str, Callable[[Report], None]]:
    def of_training(stage: Callable[..., Iterator[Result]]) -> Callable[[Report], None]:
        def run(report: Report) -> None:
            for result in stage(quick=quick):
                report.add(result)

        return run

    return {
        "parity": lambda report: parity(report, quick=quick),
        "norms": lambda report: norm_speed(report, bandwidth, quick=quick),
        "others": lambda report: other_speed(report, bandwidth, quick=quick),
        **{name: of_training(stage) for name, stage in kernels_training.STAGES.items()},
    }


def _held(anew: set[str]) -> tuple[list[tuple[Cell, ...]], dict[str, object]]:
    """Return the rows of the table that stands which are not measured anew, and the details."""
    path = RESULTS / "kernels_gpu.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = [tuple(row.get(column) for column in COLUMNS) for row in found.get("table", [])]
    details = {name: x for name, x in found.items() if name not in _OF_EVERY_RUN}
    return [row for row in rows if row[0] not in anew and row[2] != _NOT_YET], details


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
        errors[f"{'LayerNorm' if centered else 'RMSNorm'} {_shape(shape)} {dtype}"] = max(
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
        x, g, w = _norm_inputs(shape, torch.bfloat16)
        first = layer_norm_backward(g, x, w, w, eps=EPS)
        same = all(
            torch.equal(a, b)
            for _ in range(3 if quick else 99)
            for a, b in zip(first, layer_norm_backward(g, x, w, w, eps=EPS), strict=True)
            if a is not None and b is not None
        )
        report.add(Result("same bits in 100 runs", f"{_shape(shape)} bf16", holds=same))


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


def norm_speed(report: Report, bandwidth: float, *, quick: bool) -> None:
    """Time both norm layers' backward beside torch's, the compiler's and Liger's."""
    shapes = {"tiny": (2, 16, 768)} if quick else NORM_SHAPES
    for (name, shape), centered in itertools.product(shapes.items(), (True, False)):
        kind = "LayerNorm" if centered else "RMSNorm"
        x, g, w = _norm_inputs(shape, torch.bfloat16)
        sets = [(x, g), *((x.clone(), g.clone()) for _ in range(copies_for(2 * x.nbytes) - 1))]
        times: dict[str, float] = {}
        for version, make in _norm_versions(w, centered).items():
            try:
                times[version] = seconds([make(x, g) for x, g in sets])
            except RuntimeError as error:
                print(f"   {version}: {str(error).splitlines()[0]}")
        ours, least = times["gnoise"], 3 * x.nbytes
        same_size = least / ours / copy_bandwidth(least // 8)
        report.details[f"{kind}, {name}"] = {
            version: {"seconds": found, "of copy": least / found / bandwidth} for version, found in times.items()
        }
        of_copy, beside = least / ours / bandwidth, {k: ours / found for k, found in times.items() if k != "gnoise"}
        holds = of_copy >= OF_COPY and beside.get("torch", 0.0) <= 1.0
        shape_of = f"{name} {_shape(shape)} bf16"
        report.add(Result(f"{kind} backward", shape_of, 1e3 * ours, of_copy, beside, holds, same_size))


def other_speed(report: Report, bandwidth: float, *, quick: bool) -> None:
    """Time the other kernels beside torch's ways to the same: two passes, lists of tensors, matrices written out."""
    numel = 1 << (14 if quick else 26)
    values, scale = torch.randn(numel, device=DEVICE), torch.rand(numel, device=DEVICE) + 0.1
    ours = seconds([lambda: sketch(values, scale)])
    theirs = launched_seconds(lambda: sketch_reference(values, scale), repeats=5)
    share = 8 * numel / ours / bandwidth
    report.add(Result("sketch, raw and standardised", f"{numel} fp32", 1e3 * ours, share, {"torch": ours / theirs}))

    sides = [(64, 64)] * 4 if quick else [(50257, 768), *[(768, 3072)] * 12, *[(3072, 768)] * 12, *[(2304, 768)] * 12]
    grads, firsts, squares = ([torch.rand(s, device=DEVICE) for s in sides] for _ in range(3))
    total = sum(g.numel() for g in grads)
    scales = torch.full((len(grads),), 0.5, device=DEVICE)
    for rule in ("clip_value", "saturating"):
        ours = seconds([lambda r=rule: remedied_adam_moments_(grads, firsts, squares, rule=r, scales=scales)])
        theirs = seconds([lambda r=rule: _foreach_moments(grads, firsts, squares, r)])
        share = 20 * total / ours / bandwidth
        what = f"{rule} with Adam's moments"
        report.add(Result(what, f"{total / 1e6:.1f} M fp32", 1e3 * ours, share, {"torch": ours / theirs}))

    sizes = [(2, 8, 16, 16)] if quick else [(8, 1024, 768, 3072), (64, 64, 768, 3072), (2, 4096, 4096, 4096)]
    for examples, tokens, outputs, inputs in sizes:
        g = torch.randn(examples, tokens, outputs, device=DEVICE, dtype=torch.bfloat16)
        x = torch.randn(examples, tokens, inputs, device=DEVICE, dtype=torch.bfloat16)
        label = f"{examples}×{tokens} tokens, {outputs}×{inputs} bf16"
        written = seconds([lambda g=g, x=x: torch.bmm(g.mT, x).float().square().sum((1, 2))])
        plain = seconds([lambda g=g, x=x: g.flatten(0, 1).mT @ x.flatten(0, 1)])
        for order in Order:
            ours = seconds([lambda g=g, x=x, o=order: per_example_linear_norms(g, x, order=o)])
            report.add(Result(f"linear norms, {order} first", label, 1e3 * ours, None, {"torch": ours / written}))
            report.details[f"linear norms, {order} first, {label}"] = {"over the batch's dW": ours / plain}


def tune(report: Report, bandwidth: float) -> None:
    """Try other tiles and pipeline depths for the norm layers, at the ends of the range."""
    found: dict[str, dict[str, float]] = {}
    for name in ("GPT-2 small", "Llama 7B", "Llama 70B"):
        shape = NORM_SHAPES[name]
        x, g, w = _norm_inputs(shape, torch.bfloat16)
        sets = [(x, g), *((x.clone(), g.clone()) for _ in range(copies_for(2 * x.nbytes) - 1))]
        for tile, turns, warps in itertools.product((1024, 2048, 4096, 8192), (2, 3, 4), (8, 16, 32)):
            norm_launch.plan_programs.cache_clear()
            with (
                patch.object(norm_launch, "_tile", lambda block, _, tile=tile: max(block, tile)),
                patch.object(norm_launch, "stages", lambda *_, turns=turns: turns),
                patch.object(norm_launch, "_WARPS", warps),
            ):
                took = seconds(
                    [lambda x=x, g=g, w=w: layer_norm_backward(g, x, w, w, eps=EPS) for x, g in sets], repeats=5
                )
            share = 3 * x.nbytes / took / bandwidth
            found.setdefault(name, {})[f"tile {tile}, stages {turns}, warps {warps}"] = share
        norm_launch.plan_programs.cache_clear()
        best = max(found[name], key=lambda key: found[name][key])
        print(f"  {name}: best of copy {found[name][best]:.3f} with {best}", flush=True)
    report.details["tuning, share of copy"] = found


def _norm_versions(w: Tensor, centered: bool) -> dict[str, Callable[[Tensor, Tensor], Callable[[], object]]]:
    """List ways to the backward pass: (x, gradient) to a call."""

    def native(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if centered:
            return functional.layer_norm(x, weight.shape, weight, bias, EPS)
        return functional.rms_norm(x, weight.shape, weight, EPS)

    compiled = torch.compile(native, dynamic=False, backend="inductor" if CUDA else "aot_eager")

    def by_autograd(forward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Callable[[], object]]:
        def make(x: Tensor, g: Tensor) -> Callable[[], object]:
            leaves = [t.detach().clone().requires_grad_() for t in (x, w, w)][: 3 if centered else 2]
            y = forward(*leaves, w) if len(leaves) == 2 else forward(*leaves)
            return lambda: torch.autograd.grad(y, leaves, g, retain_graph=True)

        return make

    def ours(x: Tensor, g: Tensor) -> Callable[[], object]:
        if centered:
            return lambda: layer_norm_backward(g, x, w, w, eps=EPS)
        return lambda: rms_norm_backward(g, x, w, eps=EPS)

    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = False  # the same graph is differentiated again and again
    versions = {"gnoise": ours, "torch": by_autograd(native), "torch.compile": by_autograd(compiled)}
    if CUDA and importlib.util.find_spec("liger_kernel") is not None:
        versions["Liger"] = by_autograd(_liger(centered))
    return versions


def _liger(centered: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if centered:
        from liger_kernel.ops.layer_norm import LigerLayerNormFunction

        return lambda x, weight, bias: LigerLayerNormFunction.apply(x, weight, bias, EPS)
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction

    # Not in place: the gradient is used again.
    return lambda x, weight, _: LigerRMSNormFunction.apply(x, weight, EPS, 0.0, "llama", False)


def _foreach_moments(grads: list[Tensor], firsts: list[Tensor], seconds_: list[Tensor], rule: str) -> None:
    """Do what the remedies and Adam do to a list of tensors, by torch's own list operations."""
    if rule == "clip_value":
        changed = list(torch._foreach_clamp_max(grads, 0.5))
        torch._foreach_clamp_min_(changed, -0.5)
    else:
        divisor = list(torch._foreach_mul(grads, 2.0))
        torch._foreach_mul_(divisor, divisor)
        torch._foreach_add_(divisor, 1.0)
        torch._foreach_rsqrt_(divisor)
        changed = list(torch._foreach_mul(grads, divisor))
    torch._foreach_lerp_(firsts, changed, 0.1)
    torch._foreach_mul_(seconds_, 0.999)
    torch._foreach_addcmul_(seconds_, changed, changed, 0.001)


def _norm_inputs(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x = 1.0 + 2.0 * torch.randn(shape, device=DEVICE)
    return x.to(dtype), torch.randn(shape, device=DEVICE).to(dtype), torch.randn(shape[-1], device=DEVICE).to(dtype)


def _many(quick: bool) -> tuple[int, ...]:
    """Give a shape with enough examples to be added up in several bands."""
    return (150, 2, 96) if quick else (5000, 2, 768)


def _norm_errors(shape: tuple[int, ...], dtype: torch.dtype, centered: bool) -> tuple[float, float]:
    """Relative errors of dx and of the sums, each against the size of the terms it is a sum of."""
    x, g, w = _norm_inputs(shape, dtype)
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


def _row(result: Result) -> tuple[Cell, ...]:
    beside = tuple(result.beside.get(other) for other in OTHERS)
    holds = None if result.holds is None else ("yes" if result.holds else "no")
    return result.what, result.shape, result.milliseconds, result.of_copy, result.same_size, *beside, holds


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _device() -> str:
    return torch.cuda.get_device_name() if CUDA else "no GPU"


def _nothing_measured() -> None:
    if (RESULTS / "kernels_gpu.json").exists():
        print("no GPU here: the results in benchmarks/results stay as they are; --quick rehearses on the CPU")
        return
    names = [(f"{kind} backward", name) for name in NORM_SHAPES for kind in ("LayerNorm", "RMSNorm")]
    names += [(name, "GPT 124 M") for name in kernels_training.STAGES]
    publish(
        "kernels_gpu",
        notes=["No GPU has run this yet: PYTHONPATH=. python benchmarks/kernels_gpu.py on one fills the table."],
        settings={"device": _device()},
        columns=COLUMNS,
        rows=[(what, shape, _NOT_YET, *[None] * (len(COLUMNS) - 3)) for what, shape in names],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, on a CPU where need be; writes no results")
    parser.add_argument("--tune", action="store_true", help="try other settings of the norm layers' programs")
    names = list(_stages(0.0, quick=True))
    parser.add_argument(
        "--stages", nargs="+", choices=names, default=names, help="to measure; the table's other rows stay (all)"
    )
    parser.add_argument("--budget", type=float, default=450.0, help="seconds after which no stage is begun (450)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
