"""Write ``stable_reference.csv``: densities and tails of stable laws by Nolan's integrals at 30 digits and more.

Run it by hand, ``python tests/stats/make_stable_reference.py``, a few minutes. It shares no formula with gnoise: the
path is in the angle, at a working precision that makes up for what this loses near alpha 1 (mpmath's, 60 digits).
"""

import csv
import itertools
from collections.abc import Callable
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

Real = Any  # mpmath's numbers carry no types

ALPHAS = (0.5, 0.6, 0.8, 0.9, 0.99, 0.9993, 0.999999, 1.0, 1.000001, 1.0005, 1.02, 1.2, 1.5, 1.7, 1.9, 1.95, 1.999)
BETAS = (-1.0, -0.999, -0.5, 0.0, 0.2, 0.9, 1.0)
POINTS = (0.003, 0.2, 0.7, 1.0, 1.7, 2.6, 4.1, 7.0, 13.0, 40.0, 300.0, 1e4, 1e6, 1e8)
KEPT = 260
LOG_LEVELS = (-130, -90, -60, -40, -25, -15, -9, -5, -3, -2, -1, 0, 0.7, 1.2, 1.7, 2.2, 2.7, 3.2, 3.7, 4.2, 4.7)
ABOVE_SMALLEST = (1e-8, 1e-4, 1e-2, 0.1, 0.5, 1.5, 4.0, 9.0, 18.0, 35.0, 70.0, 110.0)
DIGITS = 60
NOTHING = -100
PRECISION = mp.mpf(10) ** -18
HALVINGS = 60


def reference(alpha: float, beta: float, x: float) -> tuple[Real, Real, Real] | None:
    """Compute density, survival and distribution function in S0, or nothing where the density is 0 in float64."""
    mp.mp.dps = DIGITS
    centre = -mp.mpf(beta) * mp.tan(mp.pi * mp.mpf(alpha) / 2) if alpha != 1.0 else mp.inf * -beta
    if alpha == 1.0 and beta == 0.0:
        density = 1 / (mp.pi * (1 + mp.mpf(x) ** 2))
        above = mp.acot(mp.mpf(x)) / mp.pi if x > 0 else 1 + mp.acot(mp.mpf(x)) / mp.pi
        return density, above, 1 - above
    if (alpha == 1.0 and beta < 0.0) or (alpha != 1.0 and mp.mpf(x) < centre):
        mirrored = reference(alpha, -beta, -x)
        return None if mirrored is None else (mirrored[0], mirrored[2], mirrored[1])
    log_g, start, end, scale = _at_one(beta, x) if alpha == 1.0 else _away_from_one(alpha, beta, x)
    if start >= end:
        return None
    cuts = _cuts(log_g, start, end)
    below_one = alpha < 1.0
    density = scale * _total(lambda angle: mp.exp(log_g(angle) - mp.exp(log_g(angle))), cuts)
    if density < mp.mpf(10) ** -300:
        return None
    kept = _total(lambda angle: mp.exp(-mp.exp(log_g(angle))), cuts)
    lost = _total(lambda angle: -mp.expm1(-mp.exp(log_g(angle))), cuts)
    # Outside the cuts g is 0 or infinite as far as float64 can tell.
    if log_g(cuts[0]) < log_g(cuts[-1]):
        lost += end - cuts[-1]
        kept += cuts[0] - start if log_g(cuts[0]) < NOTHING else 0
    else:
        lost += cuts[0] - start
        kept += end - cuts[-1] if log_g(cuts[-1]) < NOTHING else 0
    width = mp.pi - (end - start)
    above, below = (lost, kept + width) if below_one or alpha == 1.0 else (kept, lost + width)
    return density, above / mp.pi, below / mp.pi


def _away_from_one(alpha: float, beta: float, x: float) -> tuple[Callable[[Real], Real], Real, Real, Real]:
    a, tangent = mp.mpf(alpha), mp.tan(mp.pi * mp.mpf(alpha) / 2)
    shift = mp.atan(mp.mpf(beta) * tangent) / a
    distance = mp.mpf(x) + mp.mpf(beta) * tangent
    constant = mp.log(mp.cos(a * shift)) / (a - 1) + a / (a - 1) * mp.log(distance)

    def log_g(angle: Real) -> Real:
        cosine = mp.cos(angle)
        ratio = mp.log(cosine / mp.sin(a * (shift + angle)))
        return constant + a / (a - 1) * ratio + mp.log(mp.cos(a * shift + (a - 1) * angle) / cosine)

    return log_g, -shift, mp.pi / 2, a / (mp.pi * abs(a - 1) * distance)


def _at_one(beta: float, x: float) -> tuple[Callable[[Real], Real], Real, Real, Real]:
    b = mp.mpf(beta)

    def log_g(angle: Real) -> Real:
        wide = mp.pi / 2 + b * angle
        return mp.log(2 / mp.pi * wide / mp.cos(angle)) + wide * mp.tan(angle) / b - mp.pi * mp.mpf(x) / (2 * b)

    return log_g, -mp.pi / 2, mp.pi / 2, 1 / (2 * b)


def _cuts(log_g: Callable[[Real], Real], start: Real, end: Real) -> list[Real]:
    """Cut the angles where g passes the levels at which the integrands change."""
    inset = (end - start) * mp.mpf(10) ** -50
    low, high = start + inset, end - inset
    smallest = min(log_g(low), log_g(high))
    levels = [mp.mpf(level) for level in LOG_LEVELS]
    if smallest > -130:
        levels += [mp.log(mp.exp(smallest) + step) for step in ABOVE_SMALLEST]
    rising = log_g(low) < log_g(high)
    cuts = [_crossing(log_g, low, high, level, rising) for level in levels if level > smallest]
    return sorted({*cuts, *([low if rising else high] if smallest > -130 else [])})


def _crossing(log_g: Callable[[Real], Real], low: Real, high: Real, level: Real, rising: bool) -> Real:
    for _ in range(180):
        middle = (low + high) / 2
        if (log_g(middle) < level) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _total(integrand: Callable[[Real], Real], cuts: list[Real]) -> Real:
    """Integrate piece by piece, halving the pieces that need it."""
    pieces = [(low, high, _piece(integrand, low, high)) for low, high in itertools.pairwise(cuts)]
    done = mp.mpf(0)
    for _ in range(HALVINGS):
        whole = done + sum(value for _, _, (value, _) in pieces)
        open_pieces = []
        for low, high, (value, error) in pieces:
            if error <= PRECISION * abs(whole):
                done += value
            else:
                middle = (low + high) / 2
                open_pieces += [
                    (low, middle, _piece(integrand, low, middle)),
                    (middle, high, _piece(integrand, middle, high)),
                ]
        pieces = open_pieces
    if pieces:
        raise ArithmeticError("an integral did not settle")
    return done


def _piece(integrand: Callable[[Real], Real], low: Real, high: Real) -> tuple[Real, Real]:
    return mp.quad(integrand, [low, high], method="gauss-legendre", maxdegree=5, error=True)


def _row(point: tuple[float, float, float]) -> list[str] | None:
    values = reference(*point)
    return None if values is None else [*map(repr, point), *(str(mp.nstr(value, 22)) for value in values)]


def main() -> None:
    """Compute the points, chosen at random from a grid, and write them."""
    grid = [(a, b, sign * x) for a, b, x, sign in itertools.product(ALPHAS, BETAS, POINTS, (-1.0, 1.0))]
    chosen = np.random.default_rng(7).permutation(len(grid))[:KEPT]
    with Pool(2) as pool:
        rows = [row for row in pool.imap(_row, [grid[i] for i in chosen], chunksize=4) if row is not None]
    with (Path(__file__).parent / "stable_reference.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["alpha", "beta", "x", "pdf", "sf", "cdf"])
        writer.writerows(sorted(rows))


if __name__ == "__main__":
    main()
