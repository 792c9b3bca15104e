"""Simulate the nulls localization is held against, and write the table ``gnoise`` ships with.

Two laws have no closed form that is good at small sizes: the inverse participation ratio of a uniformly random unit
vector, and the largest singular value of a Gaussian matrix in units of its own median singular value. Singular values
of an m × n Gaussian matrix are those of a bidiagonal matrix with chi-distributed entries, so thousands of matrices of
side 4,096 take minutes.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from report import publish
from scipy.linalg import eigvalsh_tridiagonal

from gnoise.stats.spectrum import BLOCK_LONG, BLOCK_SHORT, EXACT_SIDE, marchenko_pastur_median, tracy_widom_units

TABLE = Path("gnoise/stats/localization_nulls.json")
LEVELS = np.array([0.99, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002])
IPR_SIDES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 4096)
EDGE_SIDES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 257, 512, 1024, 4096)
EDGE_ASPECTS = (1.0, 2.0, 4.0, 16.0, 64.0)
TRACY_WIDOM = {0.5: -1.2686, 0.1: 0.4501, 0.05: 0.9793, 0.01: 2.0234}
"""Published upper quantiles for β = 1 (Bejan 2005, table 2), for comparison."""


def main() -> None:
    """Simulate, write the table and print how it compares with the limit laws."""
    options = _options()
    rng = np.random.default_rng(options.seed)
    start = time.process_time()
    ipr = [_quantiles(_ipr_over_mean(rng, side, options.runs)) for side in IPR_SIDES]
    edge = [[_edge_quantiles(rng, side, aspect, options.runs) for aspect in EDGE_ASPECTS] for side in EDGE_SIDES]
    if not options.quick:
        _write(ipr, edge)
    places = [int(np.flatnonzero(level == LEVELS)[0]) for level in TRACY_WIDOM]
    publish(
        "localization_nulls",
        notes=[
            "Upper quantiles of (σ₁²/ŝ² − μ)/σ, ŝ from the median singular value: of the whole spectrum up to a side",
            f"of {EXACT_SIDE}, of a block of {BLOCK_SHORT} × {BLOCK_LONG} above. Last row: Tracy–Widom, ŝ known.",
        ],
        settings={
            "runs": options.runs,
            "seed": options.seed,
            "CPU seconds": round(time.process_time() - start),
        },
        columns=["side", "aspect", *(f"{level:g}" for level in TRACY_WIDOM)],
        rows=[
            *(
                [str(side), f"{aspect:g}", *(found[a][place] for place in places)]
                for side, found in zip(EDGE_SIDES, edge, strict=True)
                for a, aspect in enumerate(EDGE_ASPECTS)
            ),
            ["Tracy–Widom", "", *TRACY_WIDOM.values()],
        ],
        save=not options.quick,
    )


def _write(ipr: list[list[float]], edge: list[list[list[float]]]) -> None:
    table = {
        "levels": LEVELS.tolist(),
        "ipr_sides": IPR_SIDES,
        "ipr": ipr,
        "edge_sides": EDGE_SIDES,
        "edge_aspects": EDGE_ASPECTS,
        "edge": edge,
    }
    TABLE.write_text(json.dumps(table) + "\n", encoding="utf-8")
    print(f"Wrote {TABLE}")


def _ipr_over_mean(rng: np.random.Generator, side: int, runs: int) -> np.ndarray:
    """Draw inverse participation ratios of random unit vectors, over their mean."""
    parts: list[np.ndarray] = []
    for part in np.array_split(np.arange(runs), max(1, runs * side // 10**7)):
        squares = np.square(rng.standard_normal((part.size, side)))
        parts.append(np.square(squares).sum(1) / np.square(squares.sum(1)))
    return np.concatenate(parts) * (side + 2.0) / 3.0


def _edge_quantiles(rng: np.random.Generator, side: int, aspect: float, runs: int) -> list[float]:
    """Simulate σ₁² in units of the bulk, centred and scaled."""
    long = round(side * aspect)
    centre, scale = tracy_widom_units(side, long)
    block_long = min(long, BLOCK_LONG)
    found = np.empty(runs)
    for run in range(runs):
        diagonal, beside = _gram_tridiagonal(rng, side, long)
        if side <= EXACT_SIDE:
            variance = _median_square(diagonal, beside) / marchenko_pastur_median(side, long) ** 2
        else:
            block = _gram_tridiagonal(rng, BLOCK_SHORT, block_long)
            variance = _median_square(*block) / marchenko_pastur_median(BLOCK_SHORT, block_long) ** 2
        found[run] = (_largest(diagonal, beside) / variance - centre) / scale
    return _quantiles(found)


def _gram_tridiagonal(rng: np.random.Generator, short: int, long: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tridiagonal matrix with the eigenvalues of the Gram matrix of Gaussian noise.

    References:
        Silverstein 1985; Dumitriu & Edelman 2002, arXiv math-ph/0206043, with β = 1.
    """
    down = np.sqrt(rng.chisquare(np.arange(long, long - short, -1.0)))
    beside = np.sqrt(rng.chisquare(np.arange(short - 1.0, 0.0, -1.0)))
    diagonal = np.square(down)
    diagonal[1:] += np.square(beside)
    return diagonal, down[:-1] * beside


def _median_square(diagonal: np.ndarray, beside: np.ndarray) -> float:
    """Square the median singular value."""
    short = diagonal.size
    middle = (short - 1) // 2, short // 2
    values = eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=middle)
    return float(np.square(np.sqrt(np.maximum(values, 0.0)).mean()))


def _largest(diagonal: np.ndarray, beside: np.ndarray) -> float:
    """Find the largest eigenvalue: the chi variables shrink on the way down, so its vector sits near the top."""
    top = min(diagonal.size, round(60 * np.cbrt(diagonal.size)))
    return float(
        eigvalsh_tridiagonal(diagonal[:top], beside[: top - 1], select="i", select_range=(top - 1, top - 1))[0]
    )


def _quantiles(values: np.ndarray) -> list[float]:
    return [float(f"{quantile:.5g}") for quantile in np.quantile(values, 1.0 - LEVELS)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="random matrices and vectors of each size (10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="200 of each, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 200
    return options


if __name__ == "__main__":
    main()
