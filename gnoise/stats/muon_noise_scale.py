r"""Noise scale in the norm Muon steps in, bracketed.

Muon's step is steepest descent in the spectral norm, so gradients count in its dual, the nuclear norm:

$$B_\mathrm{Muon} = b\,\frac{\mathrm{E}\|E\|_*^2}{\|G\|_*^2}$$

with E the noise of a draw of b examples. The numerator is measured. The denominator has no unbiased estimate from noisy
draws, unlike $|G|^2$: a nuclear norm is no quadratic form. But two numbers enclose it in expectation, for M the mean of
one half of the draws and g a draw of the other:

$$\mathrm{E}\langle g, \mathrm{polar}(M)\rangle \le \|G\|_* \le \mathrm{E}\|M\|_*,$$

the left because no matrix of spectral norm one has more of G along it, the right because norms are convex (Jensen). The
interval reaches from the scale with the right one to that with the left one, each end moved out by its own sampling
error. More draws bring the two together, where errors of sampling alone would leave a gap: it is the noise left in M.

Nuclear norms of matrices with a smaller side above 128 are 0 to 4% too small, the noise's and the mean's alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.records import DrawSample, Estimate, Layer, ProgressSample, Status
from gnoise.stats.evidence import is_followed, spectral_optimizer
from gnoise.stats.fieller import ratio_set
from gnoise.stats.intervals import CONFIDENCE, no_estimate
from gnoise.stats.matched_noise_scale import examples_per_draw
from gnoise.stats.statistic import Statistic, Subject

_FEWEST = 4
_NOTE = "a bracket: ‖G‖_* lies between one norm too large and one too small"


@dataclass(frozen=True)
class MuonNorms:
    """Noise and signal in the dual norm of one matrix, or, summed, of several.

    Attributes:
        noise: of pairs.
        along: ⟨g, u⟩ of draws, u of norm one: too small a signal.
        above: norm of the mean of as many other draws: too large a one.
    """

    noise: Float[np.ndarray, " pairs"]
    along: Float[np.ndarray, " draws"]
    above: float


def estimate_muon_noise_scale(subject: Subject, sample: ProgressSample) -> list[Estimate]:
    """Bracket a matrix's noise scale in Muon's norm; ``n`` is the number of pairs of draws decomposed.

    Args:
        subject: the layer; nothing is reported where its draws are not known.
        sample: what was followed of it.
    """
    if subject.draws is None:
        return []
    norms = muon_norms(sample)
    if norms is None:
        return [no_estimate(subject.name, "b_muon", Status.NOT_COLLECTED)]
    return [muon_estimate(subject.name, norms, subject.draws)]


def not_followed(subject: Subject) -> list[Estimate]:
    """Say of a hidden matrix that Muon steps, but that was not followed, why it has no number."""
    if subject.layer is None or spectral_optimizer(subject.optimizer, subject.under) is None:
        return []
    return [no_estimate(subject.name, "b_muon", Status.NOT_FOLLOWED)] if is_followed(subject.layer) else []


def muon_norms(sample: ProgressSample | None) -> MuonNorms | None:
    """Read one matrix's norms; ``None`` where it was not followed, or in a run of before they were kept."""
    if sample is None or sample.noise_nuclear is None or sample.along_mean is None or sample.mean_nuclear is None:
        return None
    return MuonNorms(sample.noise_nuclear, sample.along_mean, sample.mean_nuclear)


def add_muon_norms(parts: Sequence[tuple[Layer, MuonNorms]]) -> MuonNorms:
    r"""Sum over matrices $\sqrt{m/n}\,\|\cdot\|_*$: the dual of their largest RMS→RMS norm.

    Args:
        parts: matrices as rows × columns and their norms, of the same draws; one or more.
    """
    pairs, draws = min(part.noise.size for _, part in parts), min(part.along.size for _, part in parts)
    scales = [layer.shape[0] / layer.numel**0.5 for layer, _ in parts]
    return MuonNorms(
        noise=sum((s * part.noise[:pairs] for s, (_, part) in zip(scales, parts, strict=True)), np.zeros(pairs)),
        along=sum((s * part.along[:draws] for s, (_, part) in zip(scales, parts, strict=True)), np.zeros(draws)),
        above=sum(s * part.above for s, (_, part) in zip(scales, parts, strict=True)),
    )


def muon_estimate(name: str | None, norms: MuonNorms, draws: DrawSample, note: str = "") -> Estimate:
    r"""Report a noise scale in Muon's norm, counted in examples.

    The mean's norm varies, to first order, as much as ⟨g, u⟩ of a mean of as many other draws does. Fieller's sets of
    $\sqrt{\mathrm{E}\|E\|_*^2}$ over either norm are squared. The value is the geometric mean of the two scales.

    Args:
        name: of the layer; ``None`` for the model.
        norms: of one matrix, or a sum.
        draws: what was drawn, for the number of examples in a draw.
        note: what it is of.
    """
    pairs, note = norms.noise.size, "; ".join(part for part in (note, _NOTE) if part)
    status = _problem(norms)
    if status is not Status.OK:
        return no_estimate(name, "b_muon", status, pairs)
    unit, below = examples_per_draw(draws), float(norms.along.mean())
    low, _ = _scales(norms, norms.above)
    _, high = _scales(norms, below)
    low, high = unit * low, None if high is None else unit * high
    if below <= 0.0:
        return Estimate(name, "b_muon", None, low or None, None, None, pairs, Status.NO_SIGNAL, note)
    value = unit * float(np.square(norms.noise).mean()) / (below * norms.above)
    return Estimate(
        name,
        "b_muon",
        value,
        min(low, value),
        None if high is None else max(high, value),
        stderr=None,
        n=pairs,
        status=Status.OK if high is not None else Status.ONE_SIDED,
        note=note,
    )


def _scales(norms: MuonNorms, signal: float) -> tuple[float, float | None]:
    """Find the noise scales, in draws, that are possible if the signal's norm is this one give or take its error."""
    squares = np.square(norms.noise)
    size = float(np.sqrt(squares.mean()))
    noise_error = float(squares.std(ddof=1)) / squares.size**0.5 / (2.0 * size)
    error = float(norms.along.std(ddof=1)) / norms.along.size**0.5
    quantile = float(stdtrit(min(squares.size, norms.along.size) - 1, 0.5 + CONFIDENCE / 2.0))
    found = ratio_set(np.array([size, signal]), np.diag([noise_error**2, error**2]), (quantile, quantile))
    return found.low**2, None if found.high is None else found.high**2


def _problem(norms: MuonNorms) -> Status:
    if min(norms.noise.size, norms.along.size) < _FEWEST:
        return Status.TOO_FEW_DRAWS
    if not (np.isfinite(norms.noise).all() and np.isfinite(norms.along).all() and np.isfinite(norms.above)):
        return Status.NON_FINITE
    if not norms.noise.any():
        return Status.CONSTANT if norms.above > 0.0 else Status.ALL_ZERO
    return Status.OK


STATISTIC = Statistic(
    name="muon_noise_scale",
    needs=ProgressSample,
    quantities=("b_muon",),
    estimate=estimate_muon_noise_scale,
    absent=not_followed,
)
