"""From what was followed through Muon while collecting to the progress that gains are read from."""

from math import ceil

import numpy as np
from jaxtyping import Float

from gnoise.records import ProgressSample, Status
from gnoise.stats.evidence.arms import Gradients
from gnoise.stats.evidence.matrix_arms import MATRIX_ARMS
from gnoise.stats.evidence.optimizers import Spectral
from gnoise.stats.evidence.progress import BLOCKS, Progress, believed, one_outweighs

_FOLDS = 2
_SHORTEST = 0.75
_STEP = 2 * BLOCKS


def fewest_draws(optimizer: Spectral) -> int:
    """Count the draws a run needs, so that a block of them is long enough; a multiple of 16.

    Args:
        optimizer: its momentum.
    """
    return _STEP * ceil(_SHORTEST * optimizer.horizon * BLOCKS / _STEP)


def matrix_progress(
    sample: ProgressSample | None, optimizer: Spectral, *, draw_sq_norms: Float[np.ndarray, " draws"]
) -> Progress | Status:
    r"""Read progress off a matrix's updates, in two folds: one of the first half of them, one of the second.

    Every update has the same spectral norm, so that $\mathrm{E}\|u\|_H^2$ is the same for all arms and a gain is
    $(\mathrm{E}\langle G, u\rangle)^2$ over that of none. Both folds are held against the same gradient, of other
    draws. Left out are rows of consecutive updates, and parts of the gradient.

    Args:
        sample: ``None`` where the matrix was not followed.
        optimizer: its momentum.
        draw_sq_norms: of the matrix, of all draws of the run.
    """
    draws = draw_sq_norms.size
    if sample is None:
        return Status.NOT_FOLLOWED
    if sample.along.shape[0] < BLOCKS:
        return Status.TOO_FEW_DRAWS
    if draws < fewest_draws(optimizer):
        return Status.TOO_SHORT_A_BLOCK
    if not sample.along[:, 0].any():
        return Status.ALL_ZERO
    known = {each.arm.setting: each.arm for each in MATRIX_ARMS}
    kept = [place for place, setting in enumerate(sample.arms) if setting in known]
    arms = tuple(known[sample.arms[place]] for place in kept)
    updates = sample.along[sample.along.shape[0] // 2 :, kept]
    rows, parts = updates.shape[0], updates.shape[-1]
    left_out = _left_out(rows, parts)
    if rows > BLOCKS // 2:  # updates of older runs start from nothing in every block
        left_out[:rows] *= shared_noise(optimizer, rows, draws // 2 // rows)
    size = np.ones((1 + rows + parts, len(arms), _FOLDS))
    along = believed([_by_fold(updates[:, :, of]) for of in range(updates.shape[2])], size, left_out)
    met = _met(sample)
    return Progress(
        arms=arms,
        along=along[0],
        size=size[0],
        steady=np.zeros(len(arms)),
        steady_left=np.zeros(rows + parts),
        along_left=along[1:],
        size_left=size[1:],
        params=tuple(arm.params(met) for arm in arms),
        draws=draws,
        left_out=left_out,
        freedom=rows - _FOLDS,
        at_least=one_outweighs(draw_sq_norms),
    )


def _left_out(rows: int, parts: int) -> np.ndarray:
    """Compute (k - 1)/k by what is left out and fold, of k rows or parts that the fold has; 0 in the other fold."""
    left = np.full((rows + parts, _FOLDS), 1.0 - 1.0 / parts)
    left[:rows] = 0.0
    for fold, own in enumerate(_halves(rows)):
        left[own, fold] = 1.0 - _FOLDS / rows
    return left


def shared_noise(optimizer: Spectral, rows: int, draws: int) -> float:
    r"""Say how much larger the variance of a mean of rows is than their scatter in either fold says.

    Rows that follow each other share draws in their momentum. How far an update points along the gradient depends on
    the *energy* of the noise in it, so that progress at two times correlates as the square of that noise does.

    Args:
        optimizer: its momentum.
        rows: of updates, an even number.
        draws: of a row.
    """
    updates = optimizer.updates(draws)
    times = (draws * np.arange(rows)[:, None] + np.arange(1, updates + 1) * draws / updates).ravel().round().astype(int)
    shared = np.square(optimizer.overlap(np.abs(times[:, None] - times)))
    covariance = shared.reshape(rows, updates, rows, updates).mean(axis=(1, 3))
    kept = rows // _FOLDS
    own = covariance[:kept, :kept]
    scatter = (np.trace(own) - own.sum() / kept) / (kept - 1)
    return float(covariance.mean() * rows / scatter)


def _halves(rows: int) -> list[np.ndarray]:
    """Say which rows of updates are a fold's: those that follow each other."""
    return np.array_split(np.arange(rows), _FOLDS)


def _by_fold(updates: np.ndarray) -> np.ndarray:
    """Average over a fold's products, of all of them first, then with each row and each part left out.

    Args:
        updates: products of rows × arms × parts of the gradient.

    Returns:
        (1 + rows + parts) × arms × folds.
    """
    rows, arms, parts = updates.shape
    left = np.empty((1 + rows + parts, arms, _FOLDS))
    for fold, own in enumerate(_halves(rows)):
        left[:, :, fold] = updates[own].mean(axis=(0, 2))
        for row in own:
            left[1 + row, :, fold] = updates[np.setdiff1d(own, row)].mean(axis=(0, 2))
        for part in range(parts):
            left[1 + rows + part, :, fold] = np.delete(updates[own], part, axis=2).mean(axis=(0, 2))
    return left


def _met(sample: ProgressSample) -> Gradients:
    """Say what the arms' parameters are read from."""
    nothing = np.empty((0, 0))
    return Gradients(
        values=nothing,
        norms=np.empty(0),
        model_norms=np.empty(0),
        median_norm=sample.median_norm,
        median_model_norm=0.0,
        scale=sample.scale,
        filling=nothing,
    )
