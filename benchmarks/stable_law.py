"""The stable law: accuracy against 30-digit references, and time beside scipy.

scipy is asked for the same S0 densities; it is timed at points where it is right, so that like is compared to like.
"""

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from report import publish
from scipy.stats import levy_stable

from gnoise.stats.stable_law import stable_cdf, stable_pdf, stable_sf

REFERENCE = Path(__file__).parent.parent / "tests" / "stats" / "stable_reference.csv"
SMALLEST = 1e-290
LAWS = ((0.7, 0.5), (1.0005, 0.5), (1.5, 0.5), (1.9, 0.0))


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


def main() -> None:
    """Print the errors by region, and write them with the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="print and write nothing")
    quick = parser.parse_args().quick
    names = ("points", "pdf", "sf", "cdf", "scipy pdf")
    times = speed()
    publish(
        "stable_law",
        notes=[
            "Worst relative error by region, where the reference is above 1e-290. Time of a density, in microseconds a",
            "point, and scipy's over ours: "
            + "; ".join(
                f"α {row['alpha']}, β {row['beta']}: {row['us_per_point']:.0f}, {row['scipy_over_ours']:.2f}"
                for row in times
            ),
        ],
        settings={"reference": REFERENCE.name},
        columns=["region", *names],
        rows=[[name, *(_short(row[column]) for column in names)] for name, row in sorted(accuracy().items())],
        details={"speed": times},
        save=not quick,
    )


def _short(value: float) -> str:
    return f"{value:.2g}"


if __name__ == "__main__":
    main()
