"""Run the norm layers' Triton programs in Triton's interpreter and print, as JSON, what came out.

TRITON_INTERPRET=1 must be set before Triton is imported, and would slow everything else down: hence a process.
"""

import json
import sys

import torch

from gnoise.kernels import norm_launch
from gnoise.kernels.layer_norm import layer_norm_backward, layer_norm_backward_triton
from gnoise.kernels.rms_norm import rms_norm_backward, rms_norm_backward_triton
from tests.kernels.norm_cases import DTYPES, LEADING, SIZES, call, errors, make

TRITON = {"layer_norm": layer_norm_backward_triton, "rms_norm": rms_norm_backward_triton}
PUBLIC = {"layer_norm": layer_norm_backward, "rms_norm": rms_norm_backward}


def parity(kind: str) -> dict[str, list[float]]:
    """Errors at every size and rank; types take turns over the ranks, so that each meets every size."""
    found: dict[str, list[float]] = {}
    for size in SIZES:
        for place, leading in enumerate(LEADING):
            names = list(DTYPES) if size == 127 else [list(DTYPES)[(place + size) % 3]]
            for name in names:
                case = make(kind, (*leading, size), DTYPES[name], bias=place != 1)
                found[f"{size}-{len(leading) + 1}-{name}"] = errors(case, call(TRITON[kind], case))
    return found


def many_examples(kind: str) -> list[float]:
    """Errors where examples are added up in several bands."""
    case = make(kind, (150, 2, 33))
    return errors(case, call(TRITON[kind], case))


def wide(kind: str) -> list[float]:
    """Errors of the programs for rows too wide for registers, at a width that the interpreter can bear."""
    widest, norm_launch.WIDEST = norm_launch.WIDEST, 1024
    norm_launch.plan_programs.cache_clear()
    case = make(kind, (2, 3, 2051))
    found = errors(case, call(TRITON[kind], case))
    norm_launch.WIDEST = widest
    norm_launch.plan_programs.cache_clear()
    return found


def layouts(kind: str) -> dict[str, list[bool]]:
    """Whether other strides give the same bits as contiguous tensors."""
    case = make(kind, (3, 6, 40))
    plain = call(TRITON[kind], case)
    found: dict[str, list[bool]] = {}
    for name, other in {
        "tokens first": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
        "features first": lambda t: t.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "a slice": lambda t: torch.cat([t, t], 1)[:, : t.shape[1]],
    }.items():
        strided = type(case)(kind, other(case.grad), other(case.x), case.weight, case.bias, case.eps)
        found[name] = [torch.equal(a, b) for a, b in zip(call(TRITON[kind], strided), plain, strict=True)]
    one = type(case)(kind, torch.ones(()).expand(case.x.shape), case.x, case.weight, case.bias, case.eps)
    same = type(case)(kind, torch.ones(case.x.shape), case.x, case.weight, case.bias, case.eps)
    pairs = zip(call(TRITON[kind], one), call(TRITON[kind], same), strict=True)
    found["expanded"] = [torch.equal(a, b) for a, b in pairs]
    return found


def repeats(kind: str) -> bool:
    """Whether a hundred runs give the same bits."""
    case = make(kind, (2, 9, 5))
    first = call(TRITON[kind], case)
    return all(torch.equal(a, b) for _ in range(99) for a, b in zip(call(TRITON[kind], case), first, strict=True))


def spoilt(kind: str, value: float) -> dict[str, list[bool]]:
    """Which rows of dx and which examples' norms a single bad entry of the second example's leaves finite."""
    case = make(kind, (3, 4, 5))
    case.x[1, 2, 0] = value
    dx, *sums = call(TRITON[kind], case)
    norms = sums[len(sums) // 2 :]
    return {"rows": dx.isfinite().all(-1).flatten().tolist(), "examples": norms[0].isfinite().tolist()}


def zeros(kind: str) -> dict[str, list[list[int]]]:
    """Shapes of what comes out of empty tensors, all of it zero."""
    found: dict[str, list[list[int]]] = {}
    for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        out = call(TRITON[kind], make(kind, shape))
        found[str(shape)] = [list(t.shape) for t in out if not t.any()]
    return found


def constant(kind: str) -> bool:
    """Whether rows without variance, eps 0 and rows past the end of a tile keep their NaN to themselves."""
    case = make(kind, (2, 3, 5))
    case.x[0, 0] = 0.0
    exact = type(case)(kind, case.grad, case.x, case.weight, case.bias, 0.0)
    dx, *sums = call(TRITON[kind], exact)
    norms = sums[len(sums) // 2 :]
    return bool(dx[1].isfinite().all() and norms[0][1].isfinite() and not norms[0][0].isfinite())


def chosen(kind: str) -> bool:
    """Whether GNOISE_KERNELS=triton, set by the test, makes the public function run in Triton."""
    case = make(kind, (2, 3, 5))
    pairs = zip(call(PUBLIC[kind], case), call(TRITON[kind], case), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def weighted(kind: str) -> list[bool]:
    """Whether weights divide the norms by their squares and leave the rest alone."""
    case, weights = make(kind, (2, 3, 5)), torch.tensor([0.5, 4.0])
    plain, found = call(TRITON[kind], case), call(TRITON[kind], case, example_weights=weights)
    half = len(plain) // 2 + 1
    return [torch.equal(a, b) for a, b in zip(plain[:half], found[:half], strict=True)] + [
        torch.allclose(a / weights**2, b) for a, b in zip(plain[half:], found[half:], strict=True)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind = sys.argv[1]
    json.dump(
        {
            "parity": parity(kind),
            "many_examples": many_examples(kind),
            "wide": wide(kind),
            "layouts": layouts(kind),
            "repeats": repeats(kind),
            "nan": spoilt(kind, float("nan")),
            "inf": spoilt(kind, float("inf")),
            "zeros": zeros(kind),
            "constant": constant(kind),
            "chosen": chosen(kind),
            "weighted": weighted(kind),
        },
        sys.stdout,
    )
