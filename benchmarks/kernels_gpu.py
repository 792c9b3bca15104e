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
from collections.abc import Callable, Iterator
from unittest.mock import patch

import kernels_training
import torch
from gpu_clock import CUDA, DEVICE, copies_for, copy_bandwidth, launched_seconds, seconds
from gpu_rows import EPS, OTHERS, Report, Result, norm_inputs, row_of, shape_words
from kernels_parity import parity
from report import RESULTS, Cell, publish
from torch import Tensor
from torch.nn import functional

from gnoise.kernels import (
    Order,
    layer_norm_backward,
    norm_launch,
    per_example_linear_norms,
    remedied_adam_moments_,
    rms_norm_backward,
    sketch,
)
from gnoise.kernels.sketch import sketch_reference

NORM_SHAPES = {
    "GPT-2 small": (8, 1024, 768),
    "GPT-2 XL": (8, 1024, 1600),
    "Llama 7B": (4, 2048, 4096),
    "Llama 13B": (4, 2048, 5120),
    "Llama 70B": (2, 4096, 8192),
}
COLUMNS = ("what", "shape", "ms", "of copy", "same size", *(f"/ {other}" for other in OTHERS), "bar holds")
OF_COPY = 0.85
"""The bar."""
_NOT_YET = "not yet measured"
_OF_EVERY_RUN = ("benchmark", "machine", "versions", "settings", "notes", "table")


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
        rows=[*(row_of(result) for result in report.results), *held],
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


def norm_speed(report: Report, bandwidth: float, *, quick: bool) -> None:
    """Time both norm layers' backward beside torch's, the compiler's and Liger's."""
    shapes = {"tiny": (2, 16, 768)} if quick else NORM_SHAPES
    for (name, shape), centered in itertools.product(shapes.items(), (True, False)):
        kind = "LayerNorm" if centered else "RMSNorm"
        x, g, w = norm_inputs(shape, torch.bfloat16)
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
        shape_of = f"{name} {shape_words(shape)} bf16"
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
        x, g, w = norm_inputs(shape, torch.bfloat16)
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
