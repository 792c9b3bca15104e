"""How often the intervals of the noise scale hold the truth, on gradients whose mean and covariance are known.

No torch and no network: one-example gradients are drawn from a law, reduced to squared norms as a run does, and
estimated. The mean gradient points in a random direction; its length sets B_simple.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from report import Cell, publish

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats import Subject
from gnoise.stats.noise_scale import estimate_noise_scale

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
    found = [_estimate(rng, eigenvalues, freedom, signal) for _ in range(runs)]
    scales = [estimates["b_simple"] for estimates in found]
    ends = [(e.low, e.high) for e in scales if e.high is not None and e.low]
    values = np.array([e.value for e in scales if e.value is not None])
    return (
        law,
        dim,
        ratio,
        _coverage(scales, trace / signal),
        len(ends) / runs,
        float(np.median([high / low for low, high in ends])) if ends else None,
        float(np.sqrt(np.mean(np.square(np.log(values / (trace / signal)))))) if values.size else None,
        _coverage([e["grad_sq_norm"] for e in found if e["grad_sq_norm"].value is not None], signal),
        _coverage([e["trace_cov"] for e in found], trace),
        sum(e["trace_cov"].status is Status.HEAVY_TAILED for e in found) / runs,
    )


def _estimate(rng: np.random.Generator, eigenvalues: np.ndarray, freedom: float, signal: float) -> dict[str, Estimate]:
    """Draw one run's gradients and estimate."""
    mean = rng.standard_normal(eigenvalues.size)
    mean *= np.sqrt(signal) / np.linalg.norm(mean)
    gradients = rng.standard_normal((DRAWS, EXAMPLES, eigenvalues.size)) * np.sqrt(eigenvalues)
    if np.isfinite(freedom):
        gradients *= np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, EXAMPLES, 1)))
    gradients += mean
    means = gradients.mean(1)
    sample = NormSample(
        example_sq_norms=np.square(gradients).sum(2),
        draw_sq_norms=np.square(means).sum(1),
        block_sq_norms=np.square(means.reshape(BLOCKS, DRAWS // BLOCKS, -1).mean(1)).sum(1),
        example_weights=np.full((DRAWS, EXAMPLES), 1.0 / EXAMPLES),
    )
    return {estimate.quantity: estimate for estimate in estimate_noise_scale(Subject(layer=None), sample)}


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
