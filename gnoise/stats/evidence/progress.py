r"""What an update buys: its progress along the true gradient, and what its size costs.

Weights are frozen. Recorded draws pass, in order, through a remedy and the real optimizer; the updates $u_t$ are
what it would have done. With curvature H the best step size buys

$$\frac{(\mathrm{E}\langle G, u\rangle)^2}{2\,\mathrm{E}\|u\|_H^2},$$

so two numbers an arm suffice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.records import CoordinateSample, Status
from gnoise.stats.evidence.arms import ARMS, NONE, Arm, Gradients
from gnoise.stats.evidence.optimizers import Simulated

BLOCKS = 8
"""Of draws, half of them in each fold; leaving each out gives the intervals."""
_FOLDS = 2
_MEANS_PER_BLOCK = 2
_MEDIAN_OF_GAUSSIAN = 0.6744897501960817


@dataclass(frozen=True)
class Progress:
    """Numerator and denominator of every arm in each fold, of all draws and with each block left out.

    Attributes:
        arms: in the order of the arrays' first axis; the first is :data:`NONE`.
        along: E⟨G, u⟩.
        size: E‖u‖² in the curvature norm.
        steady: ⟨Eu, Eu⟩ in the curvature norm, one factor from each fold: the size without its noise.
        along_left: the same with block b left out.
        size_left: likewise.
        disagreement: share of E⟨G, u⟩ of the first arm by which the median of block means and their mean differ.
    """

    arms: tuple[Arm, ...]
    along: Float[np.ndarray, "arms folds"]
    size: Float[np.ndarray, "arms folds"]
    steady: Float[np.ndarray, " arms"]
    along_left: Float[np.ndarray, "blocks arms folds"]
    size_left: Float[np.ndarray, "blocks arms folds"]
    disagreement: float

    def scaled(self, factor: float) -> "Progress":
        """Stand for more coordinates than were sampled."""
        return Progress(
            self.arms,
            factor * self.along,
            factor * self.size,
            factor * self.steady,
            factor * self.along_left,
            factor * self.size_left,
            self.disagreement,
        )


def measure_progress(sample: CoordinateSample, optimizer: Simulated, arms: Sequence[Arm] = ARMS) -> Progress | Status:
    """Run every arm through the frozen optimizer, cross-fitted over two folds of draws.

    A fold's updates are held against the gradient as the *other* fold has it: the coordinate-wise median of eight block
    means, which heavy tails cannot ruin. Each arm's second moment is that of its own remedied draws, and its
    momentum is filled by one pass over the fold before the one that counts: an arm warmed with another's moments
    would be paid for a change of scale.

    Args:
        sample: a remainder beyond eight even blocks of draws is dropped.
        optimizer: what the updates go through.
        arms: compared with no remedy, which is put in front.

    Returns:
        The progress of every arm, or why it cannot be measured.
    """
    status = _problem(sample)
    if status is not Status.OK:
        return status
    every = (NONE, *arms)
    draws = sample.values.shape[0] // (BLOCKS * _MEANS_PER_BLOCK) * BLOCKS * _MEANS_PER_BLOCK
    folds = _folds(sample, draws)
    curvature = _curvature(sample.values[:draws], optimizer)
    updates = [_updates(every, folds[f], folds[1 - f], optimizer) for f in range(_FOLDS)]
    truth = [_gradient(folds[1 - f].values) for f in range(_FOLDS)]
    parts = [_fold_progress(updates[f], truth[f], folds[1 - f].values, curvature, f) for f in range(_FOLDS)]
    middle = [fold.mean(axis=0) for fold in updates]
    plain = [float(folds[1 - f].values.mean(axis=0) @ middle[f][0]) for f in range(_FOLDS)]
    median = [float(truth[f] @ middle[f][0]) for f in range(_FOLDS)]
    return Progress(
        arms=every,
        along=np.stack([part[0] for part in parts], axis=-1),
        size=np.stack([part[1] for part in parts], axis=-1),
        steady=(middle[0] * middle[1]) @ curvature,
        along_left=np.stack([part[2] for part in parts], axis=-1),
        size_left=np.stack([part[3] for part in parts], axis=-1),
        disagreement=abs(sum(plain) - sum(median)) / max(abs(sum(median)), 1e-300),
    )


def add_progress(parts: Sequence[Progress]) -> Progress:
    """Add up layers: the same arm in all of them at once, curvature taken as comparable across layers.

    Args:
        parts: of the same arms, each scaled to its whole tensor.
    """
    return Progress(
        parts[0].arms,
        np.sum([part.along for part in parts], axis=0),
        np.sum([part.size for part in parts], axis=0),
        np.sum([part.steady for part in parts], axis=0),
        np.sum([part.along_left for part in parts], axis=0),
        np.sum([part.size_left for part in parts], axis=0),
        max(part.disagreement for part in parts),
    )


def _problem(sample: CoordinateSample) -> Status:
    if sample.values.shape[0] < BLOCKS * _MEANS_PER_BLOCK or sample.values.shape[1] == 0:
        return Status.TOO_FEW_DRAWS
    if not (np.isfinite(sample.values).all() and np.isfinite(sample.model_sq_norms).all()):
        return Status.NON_FINITE
    return Status.OK if np.any(sample.values) else Status.ALL_ZERO


def _folds(sample: CoordinateSample, draws: int) -> tuple[Gradients, Gradients]:
    """Give every other block to each fold, so that a drift over the run touches both alike."""
    values = sample.values[:draws].astype(np.float64)
    block = np.arange(draws) // (draws // BLOCKS)
    norms, model_norms = np.sqrt(sample.draw_sq_norms[:draws]), np.sqrt(sample.model_sq_norms[:draws])
    noise = np.abs(values[0::2] - values[1::2]) / np.sqrt(2.0)
    scale = float(np.median(noise[noise > 0.0])) if np.any(noise > 0.0) else 1.0

    def fold(which: int) -> Gradients:
        own = block % _FOLDS == which
        return Gradients(
            values=values[own],
            norms=norms[own],
            model_norms=model_norms[own],
            median_norm=float(np.median(norms)),
            median_model_norm=float(np.median(model_norms)),
            scale=scale,
            root_mean_square=np.sqrt(np.square(values[~own]).mean(axis=0)),
        )

    return fold(0), fold(1)


def _curvature(values: Float[np.ndarray, "draws coords"], optimizer: Simulated) -> Float[np.ndarray, " coords"]:
    """One reference for all arms: under Adam √v of the plain gradients, else 1.

    Curvature does not jump with one loud draw, so v comes from the median |g|; where most draws are zero (rows of rare
    tokens) from the mean of squares.
    """
    if not optimizer.divides_by_second:
        return np.ones(values.shape[1])
    middle = np.median(np.abs(values), axis=0) / _MEDIAN_OF_GAUSSIAN
    return np.where(middle > 0.0, middle, np.sqrt(np.square(values.astype(np.float64)).mean(axis=0)))


def _updates(
    arms: Sequence[Arm], own: Gradients, other: Gradients, optimizer: Simulated
) -> Float[np.ndarray, "draws arms coords"]:
    """Pass over a fold twice: once to fill the momentum, once for the record.

    The mean square is over all draws of both folds but the present one, as a running average of a thousand steps is
    as good as free of it.
    """
    treated = np.stack([arm.treat(own) for arm in arms], axis=1)
    others = np.stack([np.square(arm.treat(other)).sum(axis=0) for arm in arms])
    squares = np.square(treated)
    apart = (squares.sum(axis=0) - squares + others) / (own.norms.size + other.norms.size - 1)
    updates, momentum = np.empty_like(treated), np.zeros_like(others)
    for record in (False, True):
        for draw, grad in enumerate(treated):
            direction, momentum = optimizer.update(grad, momentum, np.maximum(apart[draw], 0.0))
            if record:
                updates[draw] = direction
    return updates


def _gradient(values: Float[np.ndarray, "draws coords"], left_out: int | None = None) -> Float[np.ndarray, " coords"]:
    """Take the median of block means, with one of the fold's blocks left out or none."""
    blocks = BLOCKS // _FOLDS
    means = values.reshape(blocks, _MEANS_PER_BLOCK, -1, values.shape[1]).mean(axis=2)
    kept = [b for b in range(blocks) if b != left_out]
    return np.median(means[kept].reshape(-1, values.shape[1]), axis=0)


def _fold_progress(
    updates: Float[np.ndarray, "draws arms coords"],
    truth: Float[np.ndarray, " coords"],
    truth_values: Float[np.ndarray, "draws coords"],
    curvature: Float[np.ndarray, " coords"],
    fold: int,
) -> tuple[
    Float[np.ndarray, " arms"],
    Float[np.ndarray, " arms"],
    Float[np.ndarray, "blocks arms"],
    Float[np.ndarray, "blocks arms"],
]:
    """Average both numbers over the fold's draws, and again without each block of the run.

    A block of this fold drops out of the averages; one of the other fold drops out of the gradient.
    """
    along = updates @ truth
    size = np.square(updates) @ curvature
    mean = updates.mean(axis=0)
    place = np.arange(size.shape[0]) * (BLOCKS // _FOLDS) // size.shape[0]
    along_left, size_left = np.empty((BLOCKS, along.shape[1])), np.empty((BLOCKS, along.shape[1]))
    for block in range(BLOCKS):
        own = block // _FOLDS
        if block % _FOLDS == fold:
            along_left[block], size_left[block] = along[place != own].mean(axis=0), size[place != own].mean(axis=0)
        else:
            along_left[block], size_left[block] = mean @ _gradient(truth_values, own), size.mean(axis=0)
    return along.mean(axis=0), size.mean(axis=0), along_left, size_left
