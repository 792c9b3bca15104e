"""What is compared: every remedy over a small grid of its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from gnoise.formulas import (
    clip_norm_factor,
    clip_value,
    ema,
    shrink_rational,
    shrink_saturating,
    stabilizer_ratio,
)
from gnoise.records import JsonValue

Treated = Float[np.ndarray, "draws coords"]
_SETTLE = 8


@dataclass(frozen=True)
class Gradients:
    """Draws of one layer, as a remedy meets them.

    Attributes:
        values: at the sampled coordinates.
        norms: ‖g‖ of the full tensor, a draw each.
        model_norms: ‖g‖ over all tensors.
        median_norm: of the layer's draws, all of the run.
        median_model_norm: of the model's draws.
        scale: median of the non-zero |noise| entries of the layer.
        filling: other draws, from which a remedy that keeps a scale for each coordinate has it.
    """

    values: Treated
    norms: Float[np.ndarray, " draws"]
    model_norms: Float[np.ndarray, " draws"]
    median_norm: float
    median_model_norm: float
    scale: float
    filling: Float[np.ndarray, "filling coords"]

    def part(self, draws: Int[np.ndarray, " some"]) -> "Gradients":
        """Take some of the draws; medians stay those of the run."""
        return replace(self, values=self.values[draws], norms=self.norms[draws], model_norms=self.model_norms[draws])

    def at(self, coords: slice) -> "Gradients":
        """Take some of the coordinates."""
        return replace(self, values=self.values[:, coords], filling=self.filling[:, coords])

    def alone(self, draws: Int[np.ndarray, " some"]) -> "Gradients":
        """Take some of the draws, which know of no others."""
        return replace(self.part(draws), filling=self.values[draws])

    def followed_by(self, other: "Gradients") -> "Gradients":
        """Put other draws behind these, with the scales of single coordinates from those."""
        return replace(
            self,
            values=np.concatenate([self.values, other.values]),
            norms=np.concatenate([self.norms, other.norms]),
            model_norms=np.concatenate([self.model_norms, other.model_norms]),
            filling=other.filling,
        )


@dataclass(frozen=True)
class Arm:
    """One way to treat gradients before the optimizer sees them.

    Attributes:
        remedy: its family: parameters are chosen within one.
        setting: the parameter in plain words, e.g. ``2 √v``.
        treat: the gradients in; what the optimizer gets out.
        params: what ``gnoise.apply`` needs to do the same, from the layer's own numbers.
        for_layer: whether one layer can be given it alone.
        for_model: whether the model can be given it with one set of parameters.
        by_coordinate: whether it keeps a scale for each coordinate, and so needs :attr:`Gradients.filling`.
        redescends: whether it deletes what is large enough, a rare token's true gradient included.
        rate: of arms that leave gradients alone and change learning rates, see :mod:`gnoise.stats.evidence.rates`.
    """

    remedy: str
    setting: str
    treat: Callable[[Gradients], Treated]
    params: Callable[[Gradients], Mapping[str, JsonValue]] = field(default=lambda _: {})
    for_layer: bool = True
    for_model: bool = False
    by_coordinate: bool = False
    redescends: bool = False
    rate: float | None = None

    def __reduce__(self) -> tuple[Callable[[str, str], "Arm"], tuple[str, str]]:
        """Travel between processes by name, as functions cannot: only arms of this module do."""
        return _named, (self.remedy, self.setting)


NONE = Arm("none", "", lambda g: g.values)


def _entry(form: str, function: Callable[[Treated, float], Treated], multiple: float) -> Arm:
    remedy = "clip" if form == "clip" else "shrink"
    name = "clip_value" if form == "clip" else "scale"

    def params(g: Gradients) -> Mapping[str, JsonValue]:
        return {name: multiple * g.scale} | ({} if form == "clip" else {"form": form})

    return Arm(
        remedy,
        f"{form} at {multiple:g} median |noise|",
        lambda g: function(g.values, multiple * g.scale),
        params,
        redescends=form == "rational",
    )


def _coordinates(multiple: float) -> Arm:
    def treat(g: Gradients) -> Treated:
        limit = multiple * np.sqrt(settled_mean_square(g.filling, multiple))
        return np.where(limit > 0.0, clip_value(g.values, np.where(limit > 0.0, limit, 1.0)), g.values)

    return Arm(
        "clip",
        f"clip at {multiple:g} √v",
        treat,
        lambda _: {"coordinates": multiple},
        for_model=True,
        by_coordinate=True,
    )


def settled_mean_square(values: Treated, multiple: float) -> Float[np.ndarray, " coords"]:
    r"""Find the v that clipping to a multiple of √v leaves: $v = \mathrm{E}\min(g^2, c^2 v)$.

    Args:
        values: gradients.
        multiple: c.
    """
    squares = np.square(values)
    mean = squares.mean(axis=0)
    for _ in range(_SETTLE):
        before, mean = mean, np.add.reduce(np.minimum(squares, multiple**2 * mean), axis=0) / len(squares)
        if np.array_equal(before, mean):
            break
    return mean


def _norm(multiple: float, *, whole_model: bool) -> Arm:
    def factors(g: Gradients) -> Float[np.ndarray, "draws 1"]:
        norms, median = (g.model_norms, g.median_model_norm) if whole_model else (g.norms, g.median_norm)
        return clip_norm_factor(norms, multiple * median)[:, None]

    name = "clip_global_norm" if whole_model else "clip_norm"
    return Arm(
        name,
        f"{multiple:g} median ‖g‖",
        lambda g: factors(g) * g.values,
        lambda g: {name: multiple * (g.median_model_norm if whole_model else g.median_norm)},
        for_layer=not whole_model,
        for_model=whole_model,
    )


def _stabilize(gammas: tuple[float, float]) -> Arm:
    def treat(g: Gradients) -> Treated:
        unit = g.values / np.maximum(g.norms, np.finfo(np.float64).tiny)[:, None]
        return unit * stabilizer_ratios(g.norms, gammas)[:, None]

    setting = f"gammas {gammas[0]:g}, {gammas[1]:g}"
    return Arm("stabilize", setting, treat, lambda _: {"gammas": [*gammas]}, for_model=True)


def stabilizer_ratios(norms: Float[np.ndarray, " draws"], gammas: tuple[float, float]) -> Float[np.ndarray, " draws"]:
    """Compute the norm a stabilized gradient gets at each step, the averages long under way.

    Args:
        norms: ‖g‖ in order.
        gammas: decays of the averages of ‖g‖ and ‖g‖².

    References:
        GradientStabilizer, arXiv 2502.17055.
    """
    mean, square = float(norms.mean()), float(np.square(norms).mean())
    means, squares = np.empty(norms.size), np.empty(norms.size)
    for step, norm in enumerate(norms.tolist()):
        mean, square = ema(mean, norm, gammas[0]), ema(square, norm * norm, gammas[1])
        means[step], squares[step] = mean, square
    return stabilizer_ratio(means, squares)


ARMS: tuple[Arm, ...] = (
    *(_entry("clip", clip_value, multiple) for multiple in (3.0, 6.0, 12.0)),
    *(_coordinates(multiple) for multiple in (2.0, 4.0)),
    *(_entry("rational", shrink_rational, multiple) for multiple in (4.0, 8.0)),
    *(_entry("saturating", shrink_saturating, multiple) for multiple in (4.0, 8.0)),
    *(_norm(multiple, whole_model=False) for multiple in (1.0, 2.0, 4.0)),
    *(_norm(multiple, whole_model=True) for multiple in (1.0, 2.0, 4.0)),
    *(_stabilize(gammas) for gammas in ((0.6, 0.999), (0.7, 0.9))),
)
"""Every remedy that can be judged from a coordinate sample alone."""


def _named(remedy: str, setting: str) -> Arm:
    return next(arm for arm in (NONE, *ARMS) if (arm.remedy, arm.setting) == (remedy, setting))
