"""From what was followed through Muon while collecting to the progress that gains are read from."""

from math import ceil

import numpy as np

from gnoise.records import ProgressSample, Status
from gnoise.stats.evidence.arms import Gradients
from gnoise.stats.evidence.matrix_arms import MATRIX_ARMS
from gnoise.stats.evidence.optimizers import Spectral
from gnoise.stats.evidence.progress import BLOCKS, Progress, believed

_FOLDS = 2
_UPDATES = BLOCKS // 2
_SHORTEST = 0.75
_STEP = 2 * BLOCKS

LEFT_OUT = np.where(np.arange(BLOCKS)[:, None] % _FOLDS == np.arange(_FOLDS), 0.5, 0.0)
"""(k - 1)/k by block and fold: a block is one of two that a fold's gradient is taken from, or that make its updates."""


def fewest_draws(optimizer: Spectral) -> int:
    """Count the draws a run needs, so that a block of them is long enough; a multiple of 16.

    Args:
        optimizer: its momentum.
    """
    return _STEP * ceil(_SHORTEST * optimizer.horizon * BLOCKS / _STEP)


def matrix_progress(sample: ProgressSample | None, optimizer: Spectral, *, draws: int) -> Progress | Status:
    r"""Read progress off a matrix's updates, by two folds that share no draws.

    Every update has the same spectral norm, so that $\mathrm{E}\|u\|_H^2$ is the same for all arms and a gain is
    $(\mathrm{E}\langle G, u\rangle)^2$ over that of none. Momentum is stood for by plain means of about as many draws
    as it is worth, or updates of neighbouring blocks would be made of the same draws; a block with less than three
    quarters of that is too short.

    Args:
        sample: ``None`` where the matrix was not followed.
        optimizer: its momentum.
        draws: of the run.
    """
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
    products = np.moveaxis(sample.along[_UPDATES:, kept], 0, -1)  # arms, gradients, parts of the gradient, updates
    size = np.ones((1 + BLOCKS, len(arms), _FOLDS))
    along = believed([_by_fold(products[:, of]) for of in range(products.shape[1])], size, LEFT_OUT)
    met = _met(sample)
    return Progress(
        arms=arms,
        along=along[0],
        size=size[0],
        steady=np.zeros(len(arms)),
        steady_left=np.zeros(BLOCKS),
        along_left=along[1:],
        size_left=size[1:],
        params=tuple(arm.params(met) for arm in arms),
        draws=draws,
        left_out=LEFT_OUT,
        freedom=BLOCKS // 2,
    )


def _by_fold(products: np.ndarray) -> np.ndarray:
    """Average over a fold's products, of all of them first, then with each block of the run left out.

    Args:
        products: of arms × parts of the gradient × updates; even ones of both are one fold, odd ones the other.

    Returns:
        (1 + blocks) × arms × folds.
    """
    left = np.empty((1 + BLOCKS, products.shape[0], _FOLDS))
    for fold in range(_FOLDS):
        own = products[:, fold::_FOLDS, fold::_FOLDS]
        left[:, :, fold] = own.mean(axis=(1, 2))
        for place in range(2):
            left[1 + fold + _FOLDS * place, :, fold] = own[:, 1 - place].mean(axis=1)
            left[1 + _UPDATES + fold + _FOLDS * place, :, fold] = own[:, :, 1 - place].mean(axis=1)
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
