"""Integrate a stable law's density and tails along the path of steepest descent."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gnoise.stats.stable_path import NODES, WEIGHTS, Law, Panels, end_angles, first_panels, nodes_of

_LAST = np.arange(13, 16)
_LAST_COEFFICIENTS = (
    np.polynomial.legendre.legvander(NODES, 15)[:, _LAST] * WEIGHTS[:, None] * (2.0 * _LAST + 1.0) / 2.0
)
_FINEST = 1e-12  # of the whole, in the last Legendre coefficients of a panel
_DEEPEST = 34
_LEFT = 39.0  # e^-39 is below the rounding of what is summed
_FAR = 1e3  # beyond it angles near pi would lose the tail's digits
_BATCH = 128


class Integrals(NamedTuple):
    """What one path integral yields, each to its own relative precision."""

    pdf: Float[np.ndarray, " points"]
    sf: Float[np.ndarray, " points"]
    cdf: Float[np.ndarray, " points"]


def integrate(x: Float[np.ndarray, " points"], alpha: float, beta: float) -> Integrals:
    r"""Integrate a standard stable law's density, survival and distribution function.

    $$f = \frac1\pi \int e^{E} \, d\,\mathrm{Re}\, t, \qquad
      1 - F = \frac{\chi_{-\infty}}{\pi} + \frac1\pi \int e^{E} \, d\chi$$

    by 16-point Gauss–Legendre panels that are halved until their last Legendre coefficients are negligible.

    Args:
        x: in S0.
        alpha: tail index in [0.5, 2].
        beta: skewness in [−1, 1].

    References:
        Nolan 2020, *Univariate stable distributions*, section 3.2 (the path); the variable is this project's.
    """
    away, reached = mirrored(x, alpha, beta), _reached(x, alpha, beta)
    pdf = np.zeros(x.size)
    cdf = np.full(x.size, 0.0 if beta > 0.0 else 1.0)
    sf = 1.0 - cdf
    for mirror in (False, True):
        law = Law(alpha, -beta if mirror else beta)
        points = np.flatnonzero(reached & (away == mirror))
        for at in range(0, points.size, _BATCH):
            here = points[at : at + _BATCH]
            density, above, below = _integrate(-x[here] if mirror else x[here], law)
            pdf[here] = density
            sf[here], cdf[here] = (below, above) if mirror else (above, below)
    return Integrals(pdf, sf, cdf)


def _reached(x: Float[np.ndarray, " points"], alpha: float, beta: float) -> Bool[np.ndarray, " points"]:
    """Mark the support: a half line for alpha below 1 and beta ±1."""
    if alpha >= 1.0 or abs(beta) < 1.0:
        return np.ones(x.size, dtype=bool)
    return beta * x > -1.0 / np.tan(np.pi * (1.0 - alpha) / 2.0)


def mirrored(x: Float[np.ndarray, " points"], alpha: float, beta: float) -> Bool[np.ndarray, " points"]:
    """Choose the orientation in which small angles decide: the far tail, or nearer the saddle of a light one.

    Args:
        x: in S0.
        alpha: tail index.
        beta: skewness.
    """
    half = np.pi * (alpha - 1.0) / 2.0
    side = np.where(x < 0.0, -1.0, 1.0)
    to_the_right = np.abs(x) * np.sin(half) >= beta * side * np.cos(half)
    near = (beta * side > 0.0) & ~to_the_right & (np.abs(x) < _FAR)
    return (x < 0.0) != near


def _integrate(x: Float[np.ndarray, " points"], law: Law) -> Integrals:
    panels = first_panels(law, x, _LEFT)
    forward = panels.turn[: x.size] > 0.0
    first, last = end_angles(law, panels.turn[: x.size])
    before, after = np.abs(panels.chi_left[: x.size] - first), np.abs(last - panels.chi_right[-x.size :])
    body = before + np.where(forward, first, np.pi - first)
    rest = after + np.where(forward, np.pi - last, last)
    sums = _refine(law, panels, np.stack([np.zeros(x.size), body, rest])) / np.pi
    # The larger tail is 1 minus the smaller, which alone is integrated to full precision.
    body = np.where(sums[1] < sums[2], sums[1], 1.0 - sums[2])
    rest = np.where(sums[1] < sums[2], 1.0 - sums[1], sums[2])
    return Integrals(sums[0], np.where(forward, body, rest), np.where(forward, rest, body))


def _refine(
    law: Law,
    panels: Panels,
    done: Float[np.ndarray, "3 points"],
) -> Float[np.ndarray, "3 points"]:
    """Halve panels until each is resolved; add the integrals of all terms to what is done."""
    points = done.shape[1]
    for _ in range(_DEEPEST):
        half = 0.5 * (panels.right - panels.left)
        values = _integral_terms(law, panels)
        parts = values @ WEIGHTS * half
        whole = np.abs(done + np.stack([np.bincount(panels.owner, part, points) for part in parts]))
        whole[1:][whole[1:] > whole[:0:-1]] = np.inf
        unresolved = np.abs(values @ _LAST_COEFFICIENTS).sum(axis=-1) * half
        rough = np.any(unresolved > _FINEST * whole[:, panels.owner], axis=0)
        done = done + np.stack([np.bincount(panels.owner[~rough], part[~rough], points) for part in parts])
        if not rough.any():
            break
        panels = panels.halved(law, rough)
    return done


def _integral_terms(law: Law, panels: Panels) -> Float[np.ndarray, "3 panels nodes"]:
    """Compute e^E d(Re t), e^E |d chi| and (1 − e^E) |d chi|, none of which changes its sign."""
    at = nodes_of(law, panels)
    weight, turning = np.exp(at.exponent), np.abs(at.chi_rate)
    density = weight * np.exp(at.u) * (np.sin(at.chi) * at.u_rate + np.cos(at.chi) * at.chi_rate)
    return np.stack([density, weight * turning, -np.expm1(at.exponent) * turning]).reshape(3, -1, NODES.size)
