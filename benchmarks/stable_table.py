"""Make the table of stable densities that ``gnoise`` ships with, and hold it against integrated densities.

A log density is a smooth function of alpha and beta at fixed distances from its peak, so few Chebyshev points suffice.
What matters of an error is what it does to a fit. Of the error's scores, the mean moves every fit the same way, by so
many standard errors times the root of n; the spread moves each its own way, whatever its n.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from report import publish

from gnoise.stats.stable_curve import skewed_curve
from gnoise.stats.stable_gradient import gradient
from gnoise.stats.stable_table import HIGHEST_TABLED_BETA, NODES, PANELS, alpha_at, beta_at, peak, tabled_curve

TABLE = Path("gnoise/stats/stable_table.npz")
ALPHA_DEGREES, BETA_DEGREES = 24, 25
SMALLEST = 1e-300
NEGLIGIBLE = 1e-8  # coefficients below are rounding
ALPHAS = (0.7, 0.72, 0.8, 0.9, 1.0, 1.1, 1.19, 1.21, 1.3, 1.5, 1.7, 1.9, 1.95, 1.99, 1.998)
BETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.94)
REACH = 20.0
MILLION = 10**6


def main() -> None:
    """Make the table, unless it is only to be checked, and print how good it is."""
    options = _options()
    if options.make:
        coefficients = np.stack([_coefficients(panel) for panel in range(len(PANELS) - 1)])
        coefficients[np.abs(coefficients) < NEGLIGIBLE] = 0.0
        np.savez_compressed(TABLE, coefficients=coefficients.astype(np.float32))
        print(f"Wrote {TABLE}")
    publish(
        "stable_table",
        notes=[
            "Errors of the shipped table of stable densities beside integrated ones, in standard errors of the worst",
            "of the four parameters. common: what moves every fit of a million values the same way. spread: what",
            "differs from fit to fit, whatever its size. level: mean absolute error of the log density.",
        ],
        settings={"panels": PANELS.tolist(), "beta up to": HIGHEST_TABLED_BETA},
        columns=["alpha", "beta", "common, 1/1000", "spread, 1/1000", "level, 1/1000000"],
        rows=[[alpha, beta, *_errors(alpha, beta)] for alpha in ALPHAS for beta in BETAS],
        save=not options.quick,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", action="store_true", help="make the table anew (a minute or two)")
    parser.add_argument("--quick", action="store_true", help="write no results")
    return parser.parse_args()


def _coefficients(panel: int) -> np.ndarray:
    """Interpolate log densities at Chebyshev points; those of negative beta are mirror images."""
    along, across = (np.cos(np.pi * (np.arange(count) + 0.5) / count) for count in (ALPHA_DEGREES, BETA_DEGREES))
    half, middle = BETA_DEGREES // 2, NODES.size // 2
    levels = np.empty((ALPHA_DEGREES, BETA_DEGREES, NODES.size))
    for row, place in enumerate(along):
        for column in range(half + 1):
            levels[row, column] = _level(alpha_at(place, panel), beta_at(across[column]) if column < half else 0.0)
    levels[:, half + 1 :] = levels[:, half - 1 :: -1, ::-1]
    return np.einsum(
        "ia,jb,aby->ijy",
        np.linalg.inv(chebvander(along, ALPHA_DEGREES - 1)),
        np.linalg.inv(chebvander(across, BETA_DEGREES - 1)),
        levels[:, :, middle:],
    )


def _level(alpha: float, beta: float) -> np.ndarray:
    return np.log(np.maximum(gradient(np.sinh(NODES) + peak(alpha, beta)[0], alpha, beta).pdf, SMALLEST))


def _errors(alpha: float, beta: float) -> list[float]:
    y = np.linspace(-REACH, REACH, 4001)
    x = np.sinh(y)
    exact, table = skewed_curve(alpha, beta, REACH, REACH)(x), tabled_curve(alpha, beta)(x)
    mass = np.exp(exact[0]) * np.cosh(y) * (y[1] - y[0])
    true, found = (np.stack([rows[1], rows[2], -1.0 - x * rows[3], -rows[3]]) for rows in (exact, table))
    error, information = found - true, (true * mass) @ true.T
    unit = np.sqrt(np.diag(information))
    common = np.max(np.abs(np.linalg.solve(information, error @ mass)) * unit)
    spread = np.max(np.sqrt((error**2) @ mass) / unit)
    return [1e3 * common * float(np.sqrt(MILLION)), 1e3 * spread, 1e6 * float(np.abs(table[0] - exact[0]) @ mass)]


if __name__ == "__main__":
    main()
