r"""The path of steepest descent of a stable law's inversion integral, in a variable that never degenerates.

With $t = -i e^{u + i\chi}$ the exponent of $e^{-itx}\varphi(t)$ is $E = -e^{u + i\chi} B$, and on the path it is
real. Nolan writes the path with the angle as variable, where it shrinks to a point towards alpha 1 and towards
the centre; here the variable is $p = u \pm \chi$, in which path and integrand are smooth for all alpha, beta and
x. All constants are written so that they keep their digits at alpha 1 and 2 and at beta ±1.

References:
    Nolan 2020, *Univariate stable distributions*, section 3.2; the variable p is this project's.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANEL_LENGTH = 3.0
_NEWTON_STEPS = 80
_QUADRATIC = 1e-9  # a Newton step this small (relative) was the last but one that mattered
_NEARBY = 3e-2  # close enough where what is integrated is not assumed to be real
_SMALL_POWER = -0.6
_SERIES = 1e-5
_RIGHT = 7.2  # 0.6 e^7.2 > 745: nothing is left of exp(-0.6 r^alpha) beyond


@dataclass(frozen=True)
class Law:
    """Constants of a law in forms that keep their digits at alpha 1 and 2 and at beta ±1."""

    alpha: float
    beta: float

    @cached_property
    def eps(self) -> float:
        """Alpha minus one."""
        return self.alpha - 1.0

    @cached_property
    def from_light(self) -> float:
        """One plus beta: 0 where the right tail is light."""
        return 1.0 + self.beta

    @cached_property
    def sine(self) -> float:
        """Sine of pi eps / 2."""
        return float(np.sin(np.pi * self.eps / 2.0))

    @cached_property
    def cosine_gap(self) -> float:
        """One minus the cosine of pi eps / 2."""
        return 2.0 * float(np.sin(np.pi * self.eps / 4.0)) ** 2

    @cached_property
    def eps_over_sine(self) -> float:
        """Its limit is 2 / pi."""
        return self.eps / self.sine if self.eps else 2.0 / np.pi

    @cached_property
    def eps_over_tan(self) -> float:
        """Its limit is 2 / pi, and 0 at alpha 2."""
        return self.eps_over_sine * float(np.sin(np.pi * (2.0 - self.alpha) / 2.0))

    @cached_property
    def eps_over_tan_slope(self) -> float:
        """How the ratio changes with alpha."""
        if abs(self.eps) < _SERIES:
            return -np.pi * self.eps / 3.0
        return (self.eps_over_tan - np.pi / 2.0 * self.eps_over_sine**2) / self.eps

    @cached_property
    def far_angle(self) -> float:
        """The angle at which |t|^alpha alone keeps the exponent real."""
        tangent = float(np.tan(np.pi * self.eps / 2.0))
        if self.eps >= 0.0:
            return (np.pi * self.eps / 2.0 + float(np.arctan2(tangent, self.beta))) / self.alpha
        return float(np.arctan2(-self.from_light * tangent, tangent**2 - self.beta)) / self.alpha


@dataclass(frozen=True)
class Panels:
    """Stretches of the path, one row each, belonging to the points that ``owner`` numbers."""

    owner: Int[np.ndarray, " panels"]
    x: Float[np.ndarray, " panels"]
    turn: Float[np.ndarray, " panels"]
    left: Float[np.ndarray, " panels"]
    right: Float[np.ndarray, " panels"]
    chi_left: Float[np.ndarray, " panels"]
    chi_right: Float[np.ndarray, " panels"]

    def halved(self, law: Law, rows: Bool[np.ndarray, " panels"], *, nearby: bool = False) -> "Panels":
        """Cut the marked panels in two, on the path or near it, and drop the others."""
        left, right, chi_left, chi_right = self.left[rows], self.right[rows], self.chi_left[rows], self.chi_right[rows]
        middle = 0.5 * (left + right)
        x, turn = self.x[rows], self.turn[rows]
        guess, settled = 0.5 * (chi_left + chi_right), _NEARBY if nearby else _QUADRATIC
        chi = _solve(law, x, turn, middle, chi_left, chi_right, guess, settled)
        return Panels(
            owner=np.tile(self.owner[rows], 2),
            x=np.tile(x, 2),
            turn=np.tile(turn, 2),
            left=np.concatenate([left, middle]),
            right=np.concatenate([middle, right]),
            chi_left=np.concatenate([chi_left, chi]),
            chi_right=np.concatenate([chi, chi_right]),
        )


@dataclass(frozen=True)
class Nodes:
    """Points on the path, with how fast it moves: p advances evenly, u and chi share it out."""

    x: Float[np.ndarray, " nodes"]
    u: Float[np.ndarray, " nodes"]
    chi: Float[np.ndarray, " nodes"]
    exponent: Float[np.ndarray, " nodes"]
    u_rate: Float[np.ndarray, " nodes"]
    chi_rate: Float[np.ndarray, " nodes"]


def first_panels(law: Law, x: Float[np.ndarray, " points"], left: float, *, nearby: bool = False) -> Panels:
    """Cover each point's path, from where exp(u) is below exp(−left) of what matters to where exp(E) is 0.

    Args:
        law: oriented so that far tails lie at positive x.
        x: in S0.
        left: 39 for double precision.
        nearby: let the panels' ends be near the path only, which is several times faster.
    """
    turn = np.where(x * law.sine - law.beta * (1.0 - law.cosine_gap) >= 0.0, 1.0, -1.0)
    edges, at_saddle = _edges(law, x, turn, left)
    tall_x, tall_turn = np.broadcast_to(x, edges.shape).ravel(), np.broadcast_to(turn, edges.shape).ravel()
    zero = np.zeros(edges.size)
    halfway = np.full(edges.size, np.pi / 2.0)
    settled = _NEARBY if nearby else _QUADRATIC
    chi = _solve(law, tall_x, tall_turn, edges.ravel(), zero, zero + np.pi, halfway, settled).reshape(edges.shape)
    start, _ = end_angles(law, turn)
    chi[0] = np.where(at_saddle, start, chi[0])  # the saddle itself is a double root
    count = edges.shape[0] - 1
    return Panels(
        owner=np.tile(np.arange(x.size), count),
        x=np.tile(x, count),
        turn=np.tile(turn, count),
        left=edges[:-1].ravel(),
        right=edges[1:].ravel(),
        chi_left=chi[:-1].ravel(),
        chi_right=chi[1:].ravel(),
    )


def nodes_of(law: Law, panels: Panels) -> Nodes:
    """Place the Gauss–Legendre nodes of every panel on the path.

    Args:
        law: as for :func:`first_panels`.
        panels: stretches of p.
    """
    p = (0.5 * (panels.left + panels.right))[:, None] + (0.5 * (panels.right - panels.left))[:, None] * NODES
    columns = (panels.x, panels.turn, panels.chi_left, panels.chi_right)
    x, turn, low, high = (np.repeat(column, NODES.size) for column in columns)
    guess = low + (high - low) * np.tile(0.5 * (1.0 + NODES), panels.x.size)
    chi = _solve(law, x, turn, p.ravel(), low, high, guess)
    u = p.ravel() - turn * chi
    value, slope = bracket(law, x, u, chi)
    rotation = np.cos(chi) + 1j * np.sin(chi)
    turning = _share_of_angle(rotation, value + slope, turn)
    exponent = np.minimum(-np.exp(u) * (rotation * value).real, 0.0)
    return Nodes(x, u, chi, exponent, 1.0 - turn * turning, turning)


def end_angles(
    law: Law, turn: Float[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Name the angles of the path's two ends, at t = 0 and at infinity."""
    axis = np.where((turn > 0.0) == (law.eps >= 0.0), 0.0, np.pi)
    far = np.full(turn.shape, law.far_angle)
    return (axis, far) if law.eps >= 0.0 else (far, axis)


def chi_rate(
    law: Law,
    x: Float[np.ndarray, " nodes"],
    turn: Float[np.ndarray, " nodes"],
    p: Float[np.ndarray, " nodes"],
    chi: Float[np.ndarray, " nodes"],
) -> Float[np.ndarray, " nodes"]:
    """Compute how fast the path's angle changes with p.

    Args:
        law: as for :func:`first_panels`.
        x: of each node.
        turn: of each node's path.
        p: places on the path.
        chi: angles there.
    """
    value, slope = bracket(law, x, p - turn * chi, chi)
    return _share_of_angle(np.cos(chi) + 1j * np.sin(chi), value + slope, turn)


def _share_of_angle(
    rotation: Complex[np.ndarray, " nodes"], moved: Complex[np.ndarray, " nodes"], turn: Float[np.ndarray, " nodes"]
) -> Float[np.ndarray, " nodes"]:
    along, aside = np.real(rotation * moved), np.imag(rotation * moved)
    across = along - turn * aside
    return np.divide(-aside, across, out=np.zeros(turn.size), where=across != 0.0)


def _edges(
    law: Law, x: Float[np.ndarray, " points"], turn: Float[np.ndarray, " points"], left: float
) -> tuple[Float[np.ndarray, "edges points"], Bool[np.ndarray, " points"]]:
    """Lay even panels from where the integrand is negligible, or the saddle, to where it is negligible again."""
    back = np.where(turn < 0.0, np.pi, 0.0)
    low = -(1.0 + law.alpha) * np.log(np.maximum(np.abs(x), 1.0)) - left - back
    high = _RIGHT / law.alpha + np.pi - back
    at_saddle = np.zeros(x.size, dtype=bool)
    if abs(law.beta) == 1.0:
        light = turn == -law.beta  # the path starts on the imaginary axis, at the saddle point
        reached = turn * x * law.sine - law.cosine_gap
        if law.eps:
            saddle = (np.log1p(np.maximum(reached, -1.0 + 1e-300)) - np.log1p(law.eps)) / law.eps
        else:
            saddle = np.pi / 2.0 * turn * x - 1.0
        at_saddle = light & (saddle - back > low)
        low = np.where(at_saddle, np.minimum(saddle - back, high), low)
    count = max(1, int(np.ceil(np.max(high - low) / _PANEL_LENGTH)))  # 1: all far out in the light tail
    return low + (high - low) * np.linspace(0.0, 1.0, count + 1)[:, None], at_saddle


def bracket(
    law: Law, x: Float[np.ndarray, " nodes"], u: Float[np.ndarray, " nodes"], chi: Float[np.ndarray, " nodes"]
) -> tuple[Complex[np.ndarray, " nodes"], Complex[np.ndarray, " nodes"]]:
    """Compute B and its derivative in u + i chi, where E = −exp(u + i chi) B."""
    eps = law.eps
    light = law.from_light * law.eps_over_tan
    if eps == 0.0:
        slope = np.full(u.shape, light - law.eps_over_sine, dtype=np.complex128)
        return x + slope * (u + 1j * chi) - 0.5j * np.pi * light, slope
    grown = np.expm1(eps * u)
    near, near_turned = _expm1(grown, eps * chi), _expm1(grown, eps * (chi - np.pi / 2.0))
    value = x - law.cosine_gap / law.sine - law.eps_over_sine / eps * near + light / eps * near_turned
    slope = -law.eps_over_sine * (1.0 + near) + light * (1.0 + near_turned)
    small = np.flatnonzero(grown < _SMALL_POWER)
    if small.size:
        # Far from power 1 the S1 centre is the better reference: the power itself keeps its digits.
        size, angle = np.exp(eps * u[small]), eps * chi[small]
        turned = angle - np.pi * eps / 2.0
        slope[small] = size * (
            light * (np.cos(turned) + 1j * np.sin(turned)) - law.eps_over_sine * (np.cos(angle) + 1j * np.sin(angle))
        )
        value[small] = x[small] - law.beta * law.eps_over_tan / eps + slope[small] / eps
    return value, slope


def bracket_gradient(
    law: Law, u: Float[np.ndarray, " nodes"], chi: Float[np.ndarray, " nodes"]
) -> tuple[Complex[np.ndarray, " nodes"], Complex[np.ndarray, " nodes"]]:
    """Differentiate B in alpha and in beta at fixed t.

    Args:
        law: as for :func:`first_panels`.
        u: logarithm of |t|.
        chi: angle of the path.
    """
    eps, angle = law.eps, chi - np.pi / 2.0
    log_t = u + 1j * angle
    if abs(eps) < _SERIES:
        power = 1.0 + eps * log_t
        over_eps = log_t * (1.0 + eps * log_t / 2.0)
        change = log_t**2 * (0.5 + eps * log_t / 3.0)
    else:
        less_one = _expm1(np.expm1(eps * u), eps * angle)
        power, over_eps = 1.0 + less_one, less_one / eps
        change = (log_t * power - over_eps) / eps
    by_beta = law.eps_over_tan * over_eps
    by_alpha = law.beta * (law.eps_over_tan_slope * over_eps + law.eps_over_tan * change) - 1j * log_t * power
    return by_alpha, by_beta


def _expm1(grown: Float[np.ndarray, " nodes"], angle: Float[np.ndarray, " nodes"]) -> Complex[np.ndarray, " nodes"]:
    """Compute (1 + grown) exp(i angle) − 1 without loss where both are small."""
    half, sine = np.sin(0.5 * angle), np.sin(angle)
    lost = 2.0 * half * half
    return (grown * (1.0 - lost) - lost) + 1j * ((1.0 + grown) * sine)


def _solve(
    law: Law,
    x: Float[np.ndarray, " nodes"],
    turn: Float[np.ndarray, " nodes"],
    p: Float[np.ndarray, " nodes"],
    one_end: Float[np.ndarray, " nodes"],
    other_end: Float[np.ndarray, " nodes"],
    guess: Float[np.ndarray, " nodes"],
    settled: float = _QUADRATIC,
) -> Float[np.ndarray, " nodes"]:
    """Find the angle at which E is real, by Newton's rule inside a bracket (the angle is monotone in p)."""
    low, high = np.minimum(one_end, other_end), np.maximum(one_end, other_end)
    chi = guess.copy()
    left = np.flatnonzero(high > low)
    for _ in range(_NEWTON_STEPS):
        if left.size == 0:
            break
        at = chi[left]
        phase, slope = _phase(law, x[left], turn[left], p[left], at)
        low[left] = np.where(phase <= 0.0, at, low[left])
        high[left] = np.where(phase >= 0.0, at, high[left])
        step = np.divide(phase, slope, out=np.full(at.shape, np.inf), where=slope > 0.0)
        trial = at - step
        inside = (trial >= low[left]) & (trial <= high[left])
        chi[left] = np.where(inside, trial, 0.5 * (low[left] + high[left]))
        left = left[~(inside & (np.abs(step) <= settled * at)) & (high[left] - low[left] > 1e-16 * at)]
    return chi


def _phase(
    law: Law,
    x: Float[np.ndarray, "..."],
    turn: Float[np.ndarray, "..."],
    p: Float[np.ndarray, "..."],
    chi: Float[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Compute the imaginary part of −E / r and its derivative in the angle at constant p."""
    value, slope = bracket(law, x, p - turn * chi, chi)
    rotation = np.cos(chi) + 1j * np.sin(chi)
    rotated = rotation * value
    return rotated.imag, (1j * rotated + rotation * slope * (1j - turn)).imag
