"""Stable law and fit: accuracy against 30-digit references, errors against the Cramér–Rao bound, time beside scipy.

scipy is asked for the same S0 densities; it is timed at points where it is right, so that like is compared to like.
"""

import csv
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import levy_stable

from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import fit_stable
from gnoise.stats.stable_law import stable_cdf, stable_pdf, stable_sf

REFERENCE = Path("tests/stats/stable_reference.csv")
RESULTS = Path("benchmarks/results")
SMALLEST = 1e-290
LAWS = ((0.7, 0.5), (1.0005, 0.5), (1.5, 0.5), (1.9, 0.0))
FITS = ((0.6, 0.5), (1.0, 0.0), (1.5, 0.5), (1.7, 0.9), (1.9, 0.0))
SIZES = (1000, 10_000, 100_000, 1_000_000)
REPEATS = 40
PARAMETERS = ("alpha", "beta", "gamma", "delta")


def region(alpha: float, beta: float, x: float) -> str:
    """Name where in the space of laws a point lies."""
    near = "within 1e-3 of 1" if abs(alpha - 1.0) <= 1e-3 else "below 1" if alpha < 1.0 else "above 1"
    return f"alpha {near}, {'beta ±1' if abs(beta) == 1.0 else 'beta inside'}, |x| {'>' if abs(x) > 100 else '<='} 100"


def accuracy() -> dict[str, dict[str, float]]:
    """Find the worst relative errors by region, ours and scipy's density."""
    worst: dict[str, dict[str, float]] = {}
    functions: dict[str, Callable[..., np.ndarray]] = {"pdf": stable_pdf, "sf": stable_sf, "cdf": stable_cdf}
    levy_stable.parameterization = "S0"
    with REFERENCE.open() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in csv.DictReader(file):
            alpha, beta, x = float(row["alpha"]), float(row["beta"]), float(row["x"])
            here = worst.setdefault(region(alpha, beta, x), {"points": 0.0})
            here["points"] += 1
            values = {name: float(function(x, alpha, beta)) for name, function in functions.items()}
            values["scipy pdf"] = float(levy_stable.pdf(x, alpha, beta))
            for name, value in values.items():
                expected = float(row[name.removeprefix("scipy ")])
                error = abs(value / expected - 1.0) if expected > SMALLEST else 0.0
                here[name] = max(here.get(name, 0.0), error)
    return worst


def speed() -> list[dict[str, float]]:
    """Time a density beside scipy's on the same points, one after the other."""
    x = np.linspace(-10.0, 10.0, 400)
    rows = []
    for alpha, beta in LAWS:
        ours, _ = timed(lambda a=alpha, b=beta: stable_pdf(x, a, b))
        scipys, _ = timed(lambda a=alpha, b=beta: levy_stable.pdf(x, a, b))
        rows.append(
            {"alpha": alpha, "beta": beta, "us_per_point": 1e6 * ours / x.size, "scipy_over_ours": scipys / ours}
        )
    return rows


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Take the best of two runs, in seconds of this process."""
    best, result = np.inf, None
    for _ in range(2):
        begin = time.process_time()
        result = function()
        best = min(best, time.process_time() - begin)
    return best, result


def fits() -> list[dict[str, float]]:
    """Fit simulated sketches; compare errors with the Cramér–Rao bound, count coverage, take times."""
    rows = []
    for alpha, beta in FITS:
        for n in SIZES:
            truth, seconds, found = (alpha, beta, 2.0, 0.3), [], []
            for seed in range(REPEATS if n < SIZES[-1] else REPEATS // 4):
                rng = np.random.default_rng([seed, n, round(100 * alpha)])
                values = stable_rvs(alpha, beta, n, rng, gamma=2.0, delta=0.3)
                sketch = sketch_from_values(values.astype(np.float32))
                begin = time.process_time()
                found.append(fit_stable(sketch))
                seconds.append(time.process_time() - begin)
            settled = [fit for fit in found if fit.status == "ok"]
            row = {"alpha": alpha, "beta": beta, "n": n, "settled": len(settled) / len(found)}
            row["ms"] = 1e3 * float(np.median(seconds))
            for name, value in zip(PARAMETERS, truth, strict=True):
                errors = np.array([getattr(fit, name) - value for fit in settled])
                bound = float(np.median([getattr(fit, f"{name}_stderr") for fit in settled]))
                inside = [getattr(fit, f"{name}_low") <= value <= getattr(fit, f"{name}_high") for fit in settled]
                row[f"{name}_rmse_over_bound"] = float(np.sqrt(np.mean(errors**2))) / bound
                row[f"{name}_coverage"] = float(np.mean(inside))
            rows.append(row)
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    return rows


def main() -> None:
    """Print three tables and write them."""
    errors = accuracy()
    print("worst relative error")
    for name, row in sorted(errors.items()):
        print(f"{name:52s}", "  ".join(f"{key} {value:.2g}" for key, value in row.items()))
    times = speed()
    print("density, microseconds a point")
    for row in times:
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    print(f"fits from a sketch, {REPEATS} repeats (a quarter at the largest n)")
    RESULTS.mkdir(exist_ok=True)
    results = {"accuracy": errors, "speed": times, "fits": fits()}
    (RESULTS / "stable_law.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
