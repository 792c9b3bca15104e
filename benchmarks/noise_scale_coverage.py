"""How often the intervals of the noise scale hold the truth, on gradients whose mean and covariance are known.

No torch and no network: one-example gradients are drawn from a law, reduced to squared norms as a run does, and
estimated. The mean gradient points in a random direction; its length sets B_simple.

Below stand sums over tensors, as of a kind of layer or a whole model: three of 10, 50 and 200 entries, whose gradients
differ a hundredfold in size and 32-fold in their own noise scale, all scaled together to meet the one asked for; once
with a tensor of t(5) examples among them, once with most of the noise in the smallest. Last comes the scale in Adam's
norm: entries with lognormal variances (sd 1 in the logarithm) and second moments (sd 1.5).
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from report import Cell, publish

from gnoise.records import CoordinateSample, DrawSample, Estimate, Kind, Layer, NormSample, Status
from gnoise.stats import Subject
from gnoise.stats.matched_noise_scale import estimate_adam_noise_scale
from gnoise.stats.noise_scale import estimate_noise_scale
from gnoise.stats.totals import add_norms

DRAWS, EXAMPLES, BLOCKS = 64, 8, 8
RATIOS = (0.1, 1.0, 10.0, 100.0)
DIMENSIONS = (10, 200)

Eigenvalues = Callable[[int], np.ndarray]
"""Of the covariance of a one-example gradient, given its dimension."""


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    start = time.process_time()
    rng = np.random.default_rng(options.seed)
    rows = [
        _row(rng, law, freedom, spectrum, dim, ratio, options.runs)
        for law, freedom, spectrum in LAWS
        for dim in DIMENSIONS
        for ratio in RATIOS
    ]
    rows += [_sum_row(rng, mixture, ratio, options.runs) for mixture in MIXTURES for ratio in RATIOS]
    rows += [_adam_row(rng, dim, ratio, options.runs) for dim in (100, 1000) for ratio in RATIOS]
    publish(
        "noise_scale_coverage",
        notes=[
            f"{DRAWS} draws of {EXAMPLES} examples in {BLOCKS} blocks; 95% intervals; a t example has one factor.",
            f"A coverage of .950 has a standard error of {np.sqrt(0.95 * 0.05 / options.runs):.3f} at this many runs.",
            "bounded: share with both ends; width: median of high/low among them; flagged: share HEAVY_TAILED;",
            "log error: root mean square of ln(estimate/truth) where there is a number. |G|² counts where it has one.",
        ],
        settings={
            "runs": options.runs,
            "seed": options.seed,
            "CPU seconds": round(time.process_time() - start),
        },
        columns=COLUMNS,
        rows=rows,
        save=not options.quick,
    )


def _flat(dim: int) -> np.ndarray:
    return np.ones(dim)


def _falling(dim: int) -> np.ndarray:
    return 1.0 / np.arange(1.0, dim + 1.0)


def _steep(dim: int) -> np.ndarray:
    return 1.0 / np.arange(1.0, dim + 1.0) ** 2


LAWS: tuple[tuple[str, float, Eigenvalues], ...] = (
    ("Gaussian, isotropic", np.inf, _flat),
    ("Gaussian, eigenvalues 1/j", np.inf, _falling),
    ("Gaussian, eigenvalues 1/j²", np.inf, _steep),
    ("t(5), isotropic", 5.0, _flat),
    ("t(2.5), isotropic", 2.5, _flat),
)
COLUMNS = ("law", "dim", "B/b", "B_simple", "bounded", "width", "log error", "|G|²", "tr Σ", "flagged")


def _row(
    rng: np.random.Generator, law: str, freedom: float, spectrum: Eigenvalues, dim: int, ratio: float, runs: int
) -> Sequence[Cell]:
    """Repeat one setting and count."""
    eigenvalues = spectrum(dim)
    trace = float(eigenvalues.sum()) * (1.0 if np.isinf(freedom) else freedom / (freedom - 2.0))
    signal = trace / (ratio * EXAMPLES)
    found = [_estimates(_norms(rng, eigenvalues, freedom, signal)) for _ in range(runs)]
    return _counted(law, dim, ratio, found, signal=signal, trace=trace)


def _counted(
    law: str, dim: int, ratio: float, found: Sequence[dict[str, Estimate]], *, signal: float, trace: float
) -> Sequence[Cell]:
    scales = [estimates["b_simple"] for estimates in found]
    ends = [(e.low, e.high) for e in scales if e.high is not None and e.low]
    values = np.array([e.value for e in scales if e.value is not None])
    return (
        law,
        dim,
        ratio,
        _coverage(scales, trace / signal),
        len(ends) / len(found),
        float(np.median([high / low for low, high in ends])) if ends else None,
        float(np.sqrt(np.mean(np.square(np.log(values / (trace / signal)))))) if values.size else None,
        _coverage([e["grad_sq_norm"] for e in found if "grad_sq_norm" in e and e["grad_sq_norm"].value], signal),
        _coverage([e["trace_cov"] for e in found if "trace_cov" in e], trace),
        sum(e.get("trace_cov", e["b_simple"]).status is Status.HEAVY_TAILED for e in found) / len(found),
    )


def _norms(rng: np.random.Generator, eigenvalues: np.ndarray, freedom: float, signal: float) -> NormSample:
    """Draw one run's gradients and reduce them to norms."""
    mean = rng.standard_normal(eigenvalues.size)
    mean *= np.sqrt(signal) / np.linalg.norm(mean)
    gradients = rng.standard_normal((DRAWS, EXAMPLES, eigenvalues.size)) * np.sqrt(eigenvalues)
    if np.isfinite(freedom):
        gradients *= np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, EXAMPLES, 1)))
    gradients += mean
    means = gradients.mean(1)
    return NormSample(
        example_sq_norms=np.square(gradients).sum(2),
        draw_sq_norms=np.square(means).sum(1),
        block_sq_norms=np.square(means.reshape(BLOCKS, DRAWS // BLOCKS, -1).mean(1)).sum(1),
        example_weights=np.full((DRAWS, EXAMPLES), 1.0 / EXAMPLES),
    )


def _estimates(sample: NormSample) -> dict[str, Estimate]:
    return {estimate.quantity: estimate for estimate in estimate_noise_scale(Subject(layer=None), sample)}


@dataclass(frozen=True)
class Tensors:
    """Unlike tensors whose norms are added up.

    Attributes:
        name: of the mixture.
        dims: entries of each.
        sizes: standard deviation of an entry of each.
        ratios: own noise scale of each, over that of the first.
        freedom: of its examples' t law; infinite for Gaussian ones.
    """

    name: str
    dims: tuple[int, ...]
    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    freedom: tuple[float, ...]


MIXTURES = (
    Tensors("sum, Gaussian", (10, 50, 200), (0.1, 1.0, 10.0), (1.0, 0.125, 0.03125), (np.inf,) * 3),
    Tensors("sum, one of t(5)", (10, 50, 200), (0.1, 10.0, 1.0), (1.0, 0.125, 0.03125), (np.inf, 5.0, np.inf)),
    Tensors("sum, noise in ten entries", (10, 50, 200), (30.0, 1.0, 1.0), (1.0, 0.1, 0.1), (np.inf,) * 3),
)


def _sum_row(rng: np.random.Generator, mixture: Tensors, ratio: float, runs: int) -> Sequence[Cell]:
    """Repeat one sum over tensors; their signals are scaled together so that the sum has the ratio asked for."""
    spread = [1.0 if np.isinf(nu) else nu / (nu - 2.0) for nu in mixture.freedom]
    traces = [d * size**2 * f for d, size, f in zip(mixture.dims, mixture.sizes, spread, strict=True)]
    signals = [trace / own for trace, own in zip(traces, mixture.ratios, strict=True)]
    scale = sum(traces) / (ratio * EXAMPLES) / sum(signals)
    parts = list(zip(mixture.dims, mixture.sizes, mixture.freedom, signals, strict=True))

    def drawn() -> NormSample:
        norms = (_norms(rng, np.full(d, size**2), nu, signal * scale) for d, size, nu, signal in parts)
        return reduce(add_norms, norms)

    found = [_estimates(drawn()) for _ in range(runs)]
    signal = scale * sum(signals)
    return _counted(mixture.name, sum(mixture.dims), ratio, found, signal=signal, trace=sum(traces))


def _adam_row(rng: np.random.Generator, dim: int, ratio: float, runs: int) -> Sequence[Cell]:
    """Repeat the noise scale in Adam's norm, on entries of unequal variance and second moment."""
    ids = np.arange(DRAWS * EXAMPLES).reshape(DRAWS, EXAMPLES)
    weights = np.full((DRAWS, EXAMPLES), 1.0 / EXAMPLES)
    draws = DrawSample(example_ids=ids, example_losses=np.ones(ids.shape), example_weights=weights, skipped=0)
    layer = Layer("w", Kind.MLP, (dim,), depth=0, owners=("w",))
    subject = Subject(layer=layer, draws=draws, optimizer={"name": "AdamW", "eps": 0.0})
    found: list[dict[str, Estimate]] = []
    for _ in range(runs):
        variance, second = np.exp(rng.standard_normal(dim)), np.exp(1.5 * rng.standard_normal(dim))
        mean, over = rng.standard_normal(dim), 1.0 / np.sqrt(second)
        mean *= np.sqrt((over @ variance) / (ratio * EXAMPLES) / (over @ np.square(mean)))
        values = mean + rng.standard_normal((DRAWS, dim)) * np.sqrt(variance / EXAMPLES)
        norms = np.square(values).sum(1)
        sample = CoordinateSample(np.arange(dim), values, norms, norms, second)
        found.append({"b_simple": estimate_adam_noise_scale(subject, sample)[0]})
    return _counted("Adam's norm, Gaussian", dim, ratio, found, signal=1.0, trace=ratio * EXAMPLES)


def _coverage(estimates: Sequence[Estimate], truth: float) -> float | None:
    """Count intervals that hold the truth; a missing end reaches without bound."""
    if not estimates:
        return None
    inside = [(e.low is None or e.low <= truth) and (e.high is None or truth <= e.high) for e in estimates]
    return sum(inside) / len(inside)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="repetitions of each setting (500)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="20 repetitions, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 20
    return options


if __name__ == "__main__":
    main()
