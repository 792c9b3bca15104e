"""How well the extreme-value index is estimated by the threshold chosen from the data, on laws whose tail is known.

No torch and no network. Independent values of a law are fitted as they are; laws without a power law have no exponent
for Hill's estimator to find, and the table says what it reads.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from report import Cell, publish

from gnoise.stats import ExtremesFit, fit_extremes, stable_rvs

SIZES = (3_000, 30_000, 300_000)


@dataclass(frozen=True)
class Law:
    """Independent values.

    Attributes:
        name: for the table.
        draw: that many values.
        xi: the truth, 0 where the tail is no power law.
    """

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    xi: float


def _stable(alpha: float) -> Law:
    return Law(f"stable {alpha:g}", lambda rng, n: stable_rvs(alpha, 0.0, (n,), rng), 1.0 / alpha)


def _student(freedom: float) -> Law:
    return Law(f"Student t({freedom:g})", lambda rng, n: rng.standard_t(freedom, n), 1.0 / freedom)


LAWS = (
    Law("Pareto 2", lambda rng, n: rng.random(n) ** -0.5, 0.5),
    Law("Cauchy", lambda rng, n: rng.standard_cauchy(n), 1.0),
    _student(2.2),
    _student(3.0),
    _stable(1.3),
    _stable(1.7),
    _stable(1.95),
    Law("Gaussian", lambda rng, n: rng.normal(size=n), 0.0),
    Law("Laplace", lambda rng, n: rng.laplace(size=n), 0.0),
    Law("lognormal", lambda rng, n: rng.lognormal(size=n), 0.0),
)


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    start = time.process_time()
    rng = np.random.default_rng(options.seed)
    rows = [_row(law, n, [fit_extremes(law.draw(rng, n)) for _ in range(options.runs)]) for law in LAWS for n in SIZES]
    publish(
        "extremes_coverage",
        notes=[
            f"Independent values, 95% intervals for independent values, {options.runs} runs a row, so a coverage of",
            f".950 has a standard error of {np.sqrt(0.95 * 0.05 / options.runs):.3f}. k: median of k.",
            "Hill's estimator assumes a power law: where there is none it has no truth to cover, only a reading.",
        ],
        settings={"runs": options.runs, "seed": options.seed, "CPU seconds": round(time.process_time() - start)},
        columns=("law", "n", "ξ", "Hill", "H rmse", "H cover", "H k", "moment", "M rmse", "M cover", "M k"),
        rows=rows,
        save=not options.quick,
    )


def _row(law: Law, n: int, found: Sequence[ExtremesFit]) -> Sequence[Cell]:
    """Count how one law's runs came out."""
    hill = np.array([(fit.xi_hill, fit.xi_hill_low, fit.xi_hill_high) for fit in found]).T
    moment = np.array([(fit.xi_moment, fit.xi_moment_low, fit.xi_moment_high) for fit in found]).T
    power_law = law.xi > 0.0
    return (
        law.name,
        n,
        law.xi,
        float(hill[0].mean()),
        _rmse(hill, law.xi) if power_law else None,
        _coverage(hill, law.xi) if power_law else None,
        int(np.median([fit.hill_k for fit in found])),
        float(moment[0].mean()),
        _rmse(moment, law.xi),
        _coverage(moment, law.xi),
        int(np.median([fit.moment_k for fit in found])),
    )


def _rmse(estimate: np.ndarray, truth: float) -> float:
    return float(np.sqrt(np.mean(np.square(estimate[0] - truth))))


def _coverage(estimate: np.ndarray, truth: float) -> float:
    return float(np.mean((estimate[1] <= truth) & (truth <= estimate[2])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="repetitions of each law and size (200)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="4 repetitions, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 4
    return options


if __name__ == "__main__":
    main()
