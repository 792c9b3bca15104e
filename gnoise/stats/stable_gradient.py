"""Densities with their derivatives in x, alpha and beta: some seven digits, a few milliseconds a law."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from gnoise.stats.stable_integral import mirrored
from gnoise.stats.stable_path import Law, Panels, bracket, bracket_gradient, chi_rate, first_panels

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_LAST = np.arange(9, 12)
_LAST_COEFFICIENTS = np.polynomial.legendre.legvander(_NODES, 11)[:, _LAST] * (2.0 * _LAST + 1.0)
_AT = 0.5 * (1.0 + _NODES)
_HERMITE = np.stack(
    [(1.0 + 2.0 * _AT) * (1.0 - _AT) ** 2, _AT**2 * (3.0 - 2.0 * _AT), _AT * (1.0 - _AT) ** 2, _AT**2 * (_AT - 1.0)]
)
_HERMITE_SLOPE = np.stack(
    [6.0 * _AT * (_AT - 1.0), 6.0 * _AT * (1.0 - _AT), (1.0 - _AT) * (1.0 - 3.0 * _AT), _AT * (3.0 * _AT - 2.0)]
)
_LEFT = 15.0  # e^-15 of what matters is left out
_FINE = 1e-3  # of the whole, in the last Legendre coefficients of a panel; sums are far better
_DEEPEST = 34
_WIDEST = 0.6  # of a group of points, in asinh x
_NARROWEST = 0.1
_OUTER_FROM = 4.5
_OUTER_STRETCH = 3.0  # tails bend less: there groups are wider
_UNRESOLVED = 1e-1
_GROWN = 1.0


class Gradient(NamedTuple):
    """A density and how it changes with each argument."""

    pdf: Float[np.ndarray, " points"]
    by_x: Float[np.ndarray, " points"]
    by_alpha: Float[np.ndarray, " points"]
    by_beta: Float[np.ndarray, " points"]


class _Contour(NamedTuple):
    """Nodes of all contours: whose they are, z and E there, and the factors of e^E in the four integrals."""

    owner: Int[np.ndarray, " nodes"]
    place: Complex[np.ndarray, " nodes"]
    exponent: Complex[np.ndarray, " nodes"]
    factors: Complex[np.ndarray, "4 nodes"]


def gradient(x: Float[np.ndarray, " points"], alpha: float, beta: float) -> Gradient:
    r"""Integrate a standard density and its derivatives, for many points at once.

    A contour does not have to be the path of steepest descent, or to move with the parameters (Cauchy). So one
    contour $t = -iz$, near the path of a centre $c$, serves all points around it,

    $$f(x) = \frac1\pi \, \mathrm{Re} \int e^{E_c(z) - (x - c) z} dt,$$

    and derivatives are integrals of $\dot E e^{E}$ on the same nodes. Points for which the integrand grows or cancels
    there, as in a light tail, get contours of smaller groups, at last of their own.

    Args:
        x: in S0.
        alpha: tail index in [0.5, 2).
        beta: skewness in (−1, 1).
    """
    away = mirrored(x, alpha, beta)
    out = np.empty((4, x.size))
    for mirror in (False, True):
        points = np.flatnonzero(away == mirror)
        if points.size:
            law, sign = Law(alpha, -beta if mirror else beta), -1.0 if mirror else 1.0
            out[:, points] = _on_shared_contours(law, sign * x[points])
            out[1::2, points] *= sign
    return Gradient(*out)


def _on_shared_contours(
    law: Law, x: Float[np.ndarray, " points"], width: float = _WIDEST
) -> Float[np.ndarray, "4 points"]:
    """Group points; those that their group's contour does not serve go into narrower groups, at last alone."""
    y = np.arcsinh(x)
    beyond = np.maximum(np.abs(y) - _OUTER_FROM, 0.0)
    place = np.clip(y, -_OUTER_FROM, _OUTER_FROM) + np.sign(y) * beyond / _OUTER_STRETCH
    # Below alpha 1 the far ends of paths lie apart on the two sides of the S1 centre.
    side = x * law.sine >= law.beta * (1.0 - law.cosine_gap)
    alone = width < _NARROWEST
    key = np.arange(x.size) if alone else 2.0 * np.floor(place / width) + side
    _, group = np.unique(key, return_inverse=True)
    middle = 0.5 * (_extreme(np.minimum, y, group) + _extreme(np.maximum, y, group))
    sums, sound = _integrals(law, x, group, x if alone else np.sinh(middle))
    poor = np.flatnonzero(~sound)
    if poor.size and not alone:
        sums[:, poor] = _on_shared_contours(law, x[poor], width / 4.0)
    return sums


def _extreme(
    of: np.ufunc, y: Float[np.ndarray, " points"], group: Int[np.ndarray, " points"]
) -> Float[np.ndarray, " groups"]:
    order = np.argsort(group, kind="stable")
    return of.reduceat(y[order], np.flatnonzero(np.diff(group[order], prepend=-1)))


def _integrals(
    law: Law, x: Float[np.ndarray, " points"], group: Int[np.ndarray, " points"], centres: Float[np.ndarray, " groups"]
) -> tuple[Float[np.ndarray, "4 points"], Bool[np.ndarray, " points"]]:
    """Sum the four integrals of every point on its group's contour; say where that contour serves."""
    contour = _contour(law, centres)
    sums, sound = np.empty((4, x.size)), np.empty(x.size, dtype=bool)
    for number, centre in enumerate(centres):
        here, on = np.flatnonzero(group == number), np.flatnonzero(contour.owner == number)
        exponent = contour.exponent[on, None] + np.multiply.outer(contour.place[on], centre - x[here])
        terms = np.imag(contour.factors[:, on, None] * np.exp(np.minimum(exponent, _GROWN)))
        sums[:, here] = whole = terms.sum(axis=1)
        by_panel = terms.reshape(4, -1, _NODES.size, here.size)
        unresolved = np.abs(np.einsum("rpnx,nl->rplx", by_panel, _LAST_COEFFICIENTS)).sum(axis=(1, 2))
        height = np.real(exponent)
        ended = height[np.argmax(np.abs(contour.place[on]))] < -_LEFT
        smooth = np.all(unresolved <= _UNRESOLVED * np.maximum(np.abs(whole), np.abs(whole[0])), axis=0)
        sound[here] = smooth & ended & (height.max(axis=0) < _GROWN)
    sums /= np.pi
    return sums, sound


def _contour(law: Law, centres: Float[np.ndarray, " groups"]) -> _Contour:
    """Lay contours near the paths of all centres, on panels halved until each is resolved."""
    panels = first_panels(law, centres, _LEFT, nearby=True)
    done, laid = np.zeros((4, centres.size)), []
    for _ in range(_DEEPEST):
        place, exponent, factors = _nodes(law, panels)
        terms = np.imag(factors * np.exp(exponent))
        parts = terms.sum(axis=-1)
        whole = np.abs(done + _by_owner(panels.owner, parts, centres.size))
        whole = np.maximum(whole, whole[0])
        unresolved = np.abs(terms @ _LAST_COEFFICIENTS).sum(axis=-1)
        rough = np.any(unresolved > _FINE * whole[:, panels.owner], axis=0)
        smooth = ~rough
        owner = np.repeat(panels.owner[smooth], _NODES.size)
        kept = (place[smooth].ravel(), exponent[smooth].ravel(), factors[:, smooth].reshape(4, -1))
        laid.append(_Contour(owner, *kept))
        done += _by_owner(panels.owner[smooth], parts[:, smooth], centres.size)
        if not rough.any():
            break
        panels = panels.halved(law, rough, nearby=True)
    return _Contour(*(np.concatenate(parts, axis=-1) for parts in zip(*laid, strict=True)))


def _by_owner(
    owner: Int[np.ndarray, " panels"], parts: Float[np.ndarray, "4 panels"], owners: int
) -> Float[np.ndarray, "4 owners"]:
    return np.stack([np.bincount(owner, part, owners) for part in parts]).astype(np.float64)  # of no panels, integers


def _nodes(
    law: Law, panels: Panels
) -> tuple[
    Complex[np.ndarray, "panels nodes"], Complex[np.ndarray, "panels nodes"], Complex[np.ndarray, "4 panels nodes"]
]:
    """Interpolate the angle between each panel's ends; compute z, E and what multiplies e^E in each integral."""
    width, turn = panels.right - panels.left, panels.turn
    rates = [
        chi_rate(law, panels.x, turn, p, chi)
        for p, chi in ((panels.left, panels.chi_left), (panels.right, panels.chi_right))
    ]
    ends = np.stack([panels.chi_left, panels.chi_right, rates[0] * width, rates[1] * width], axis=1)
    chi, chi_moved = (ends @ _HERMITE).ravel(), (ends @ _HERMITE_SLOPE).ravel()
    u = (panels.left[:, None] + width[:, None] * _AT).ravel() - np.repeat(turn, _AT.size) * chi
    u_moved = np.repeat(width, _AT.size) - np.repeat(turn, _AT.size) * chi_moved
    place = np.exp(u) * (np.cos(chi) + 1j * np.sin(chi))
    value, _ = bracket(law, np.repeat(panels.x, _AT.size), u, chi)
    by_alpha, by_beta = bracket_gradient(law, u, chi)
    # d t = −i z (u' + i chi') d p, of which the real part is wanted.
    moving = place * (u_moved + 1j * chi_moved) * (0.5 * np.tile(_WEIGHTS, width.size))
    factors = np.stack([moving, -place * moving, -place * by_alpha * moving, -place * by_beta * moving])
    shape = (width.size, _AT.size)
    return place.reshape(shape), (-place * value).reshape(shape), factors.reshape(4, *shape)
