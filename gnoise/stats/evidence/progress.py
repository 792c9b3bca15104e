r"""What an update buys: its progress along the true gradient, and what its size costs.

Weights are frozen. Recorded draws pass, in order, through a remedy and the real optimizer; the updates $u_t$ are
what it would have done. With curvature H the best step size buys

$$\frac{(\mathrm{E}\langle G, u\rangle)^2}{2\,\mathrm{E}\|u\|_H^2},$$

so two numbers an arm suffice. Draws have three parts to play, and none plays two at once: the updates come from one
half of them; of the other half one quarter of all is the gradient G they are held against, and the other fills Adam's
v and the scales that are read per coordinate. All change places. A gradient that shares draws with v would look
smaller where v is large, which pays every remedy that makes v steadier by up to a percent or two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gnoise.records import CoordinateSample, JsonValue, Status
from gnoise.stats.evidence.arms import ARMS, NONE, Arm, Gradients
from gnoise.stats.evidence.influence import Blocks
from gnoise.stats.evidence.optimizers import Simulated
from gnoise.stats.evidence.simulate import simulate
from gnoise.stats.evidence.skewness import surely_skewed

BLOCKS = 8
"""Of draws, half of them in each fold; leaving each out gives the intervals."""
_FOLDS = 2
_FEWEST = 16
_OWN = BLOCKS // _FOLDS
_MEDIAN_OF_GAUSSIAN = 0.6744897501960817
_SURELY = 8.0
"""Standard errors by which mean and median must disagree on a gain: Cauchy entries take them to four by chance."""
_OUTWEIGHS = 0.125
"""Share of all squared norms, or of all layers' sizes, that is much for one."""
_MATERIAL = 0.1
"""And by how much, as a logarithm."""

LEFT_OUT = np.where(np.arange(BLOCKS)[:, None] % _FOLDS == np.arange(_FOLDS), 1.0 - 1.0 / _OWN, 0.5)
"""(k - 1)/k by block and fold: a block is one of k = 4 that make its own fold's updates, and in the other fold one of
the k = 2 a gradient is taken from."""

Values = Float[np.ndarray, "draws coords"]
PerArm = Float[np.ndarray, " arms"]


@dataclass(frozen=True)
class Progress:
    """Numerator and denominator of every arm in each fold, of all draws and with each block left out.

    Attributes:
        arms: in the order of the arrays' first axis; the first is :data:`NONE`.
        along: E⟨G, u⟩.
        size: E‖u‖² in the curvature norm.
        steady: ⟨Eu, Eu⟩ in the curvature norm, one factor from each fold: the size without its noise.
        steady_left: the first arm's, with block b left out.
        along_left: along, with block b left out.
        size_left: likewise.
        params: of each arm, as ``gnoise.apply`` needs them; empty where layers differ.
        draws: used, of both folds.
        left_out: (k - 1)/k for a block that is one of k in a fold; 0 where it has no part in it.
        freedom: of the t intervals: independent differences behind them.
        at_least: whether noise is so heavy-tailed that more draws would show louder ones: gains are lower bounds.
    """

    arms: tuple[Arm, ...]
    along: Float[np.ndarray, "arms folds"]
    size: Float[np.ndarray, "arms folds"]
    steady: Float[np.ndarray, " arms"]
    steady_left: Float[np.ndarray, " blocks"]
    along_left: Float[np.ndarray, "blocks arms folds"]
    size_left: Float[np.ndarray, "blocks arms folds"]
    params: tuple[Mapping[str, JsonValue], ...]
    draws: int
    left_out: Float[np.ndarray, "blocks folds"]
    freedom: int
    at_least: bool = False

    def scaled(self, factor: float) -> "Progress":
        """Stand for more coordinates than were sampled."""
        return replace(
            self,
            along=factor * self.along,
            size=factor * self.size,
            steady=factor * self.steady,
            steady_left=factor * self.steady_left,
            along_left=factor * self.along_left,
            size_left=factor * self.size_left,
        )


def measure_progress(sample: CoordinateSample, optimizer: Simulated, arms: Sequence[Arm] = ARMS) -> Progress | Status:
    """Run every arm through the frozen optimizer, cross-fitted over two folds of draws.

    The gradient is the coordinate-wise median of block means, which heavy tails cannot ruin; unless noise is surely
    skewed, or the plain mean surely says something else: where the signal itself comes in rare large values (the rows
    of rare tokens) a median does not see it. Symmetric tails, however heavy, do neither. Each arm's second moment
    is that of its own remedied draws, and its momentum is filled by one pass over the fold before the one that counts:
    an arm warmed with another's moments would be paid for a change of scale. That v comes from few draws is taken out
    by comparing with half as many.

    Args:
        sample: a remainder beyond eight even blocks of draws is dropped.
        optimizer: what the updates go through.
        arms: compared with no remedy, which is put in front.

    Returns:
        The progress of every arm, or why it cannot be measured.
    """
    status = problem_of(sample)
    if status is not Status.OK:
        return status
    every = (NONE, *arms)
    draws = sample.values.shape[0] // _FEWEST * _FEWEST
    gradients = gradients_of(sample, draws)
    blocks = np.arange(draws).reshape(BLOCKS, -1)
    curvature = curvature_of(gradients.values, optimizer)
    folds = [_fold(every, gradients, blocks, fold, curvature, optimizer) for fold in range(_FOLDS)]
    middle = np.stack([fold.middle for fold in folds])  # folds, own blocks, arms, coords
    steady = summed(middle[0].mean(axis=0) * middle[1].mean(axis=0), curvature)
    size = np.stack([fold.size for fold in folds], axis=-1)
    held = [np.stack([fold.along[of] for fold in folds], axis=-1) for of in range(len(_GRADIENTS))]
    skewed = surely_skewed(gradients.values[blocks], gradients.scale)
    along = held[-1] if skewed else believed(held, size, LEFT_OUT)
    # A fold seen twice has each draw's echo in its momentum; the excess of its noise is known and taken out.
    extra = _echo(optimizer.momentum, draws // _FOLDS)
    noise = np.maximum(size[0] - steady[:, None], 0.0)
    factor = 1.0 - extra * noise / np.maximum(size[0], np.finfo(np.float64).tiny)
    return Progress(
        arms=every,
        along=along[0],
        size=size[0] * factor,
        steady=steady,
        steady_left=_steady_left(middle[:, :, 0], curvature),
        along_left=along[1:],
        size_left=size[1:] * factor,
        params=tuple(arm.params(gradients) for arm in every),
        draws=draws,
        left_out=LEFT_OUT,
        freedom=BLOCKS - 1,
        at_least=one_outweighs(sample.draw_sq_norms),
    )


def one_outweighs(draw_sq_norms: Float[np.ndarray, " draws"]) -> bool:
    """Say whether one draw has so much of all squared norms that runs are too short for its kind of noise.

    It then has no variance to speak of: a longer run would meet louder draws, which momentum and the second moment keep
    for long, and gains are lower bounds. One in eight is much of 32 draws and more; of fewer, four times an even share.

    Args:
        draw_sq_norms: of a layer.
    """
    share = max(_OUTWEIGHS, 4.0 / draw_sq_norms.size)
    return bool(draw_sq_norms.max() > share * draw_sq_norms.sum())


def add_progress(parts: Sequence[Progress]) -> Progress:
    """Add up layers: the same arm in all of them at once, curvature taken as comparable across layers.

    Args:
        parts: of the same arms, each scaled to its whole tensor. Gains are lower bounds where those whose own are so
            matter in the sum.
    """
    loud = [part.size[0].mean() for part in parts if part.at_least]
    return Progress(
        arms=parts[0].arms,
        along=np.sum([part.along for part in parts], axis=0),
        size=np.sum([part.size for part in parts], axis=0),
        steady=np.sum([part.steady for part in parts], axis=0),
        steady_left=np.sum([part.steady_left for part in parts], axis=0),
        along_left=np.sum([part.along_left for part in parts], axis=0),
        size_left=np.sum([part.size_left for part in parts], axis=0),
        params=tuple(_shared([part.params[place] for part in parts]) for place in range(len(parts[0].arms))),
        draws=min(part.draws for part in parts),
        left_out=parts[0].left_out,
        freedom=min(part.freedom for part in parts),
        at_least=bool(sum(loud) > _OUTWEIGHS * sum(part.size[0].mean() for part in parts)),
    )


@dataclass(frozen=True)
class _Fold:
    """One fold's numbers: of all draws first, then with each block of the run left out; mean updates by own block.

    ``along`` is held against the gradient by each of :data:`_GRADIENTS`.
    """

    along: Float[np.ndarray, "gradients left arms"]
    size: Float[np.ndarray, "left arms"]
    middle: Float[np.ndarray, "own arms coords"]


def _fold(
    arms: Sequence[Arm],
    gradients: Gradients,
    blocks: Int[np.ndarray, "blocks draws"],
    fold: int,
    curvature: Float[np.ndarray, " coords"],
    optimizer: Simulated,
) -> _Fold:
    """Let one fold's draws make the updates; two blocks of the other are the gradient, two fill v, both ways."""
    own = gradients.part(blocks[fold::_FOLDS].ravel())
    quarters = [blocks[1 - fold :: _FOLDS][half::2] for half in range(2)]
    # v of both blocks, then of either alone: what half as many draws change says what more would.
    fillings = [gradients.alone(rows) for quarter in quarters for rows in (quarter.ravel(), *quarter)]
    counts = [1 if place % 3 else _OWN for place in range(len(fillings))]
    made = [_by_draws(blocks) for blocks in simulate(arms, own, fillings, optimizer, curvature, counts)]
    parts: list[_Fold] = []
    for half, quarter in enumerate(quarters):
        truth = _truth(gradients.values[quarters[1 - half]])
        whole, *halves = made[3 * half : 3 * half + 3]
        along = np.stack([_along_left(whole.middle, of, (fold, 1 - half)) for of in truth])
        alone = [_Fold(_held(each, truth), each.size, each.middle) for each in halves]
        found = _Fold(along, _size_left(whole.size, fold), whole.middle)
        parts.append(_extrapolated(found, alone, (fold, half), quarter.size, optimizer))
    return _Fold(
        along=np.mean([part.along for part in parts], axis=0),
        size=np.mean([part.size for part in parts], axis=0),
        middle=np.mean([part.middle for part in parts], axis=0),
    )


def _by_draws(made: Blocks) -> Blocks:
    """Put blocks of draws in front of arms."""
    return Blocks(np.moveaxis(made.middle, 0, 1), made.size.T)


def _held(made: Blocks, truth: Sequence[Float[np.ndarray, "three coords"]]) -> Float[np.ndarray, "gradients one arms"]:
    return np.stack([summed(made.middle, of[0]) for of in truth])


def _truth(values: Float[np.ndarray, "halves rows coords"]) -> list[Float[np.ndarray, "three coords"]]:
    """Take each of :data:`_GRADIENTS` of both blocks, then without the first and without the second."""
    return [np.stack([of(values), of(values[1:]), of(values[:1])]) for of in _GRADIENTS]


def _along_left(
    middle: Float[np.ndarray, "own arms coords"], truth: Float[np.ndarray, "three coords"], place: tuple[int, int]
) -> Float[np.ndarray, "left arms"]:
    """Hold updates against the gradient; a block of this fold drops out of the updates, one of the other out of it.

    Args:
        middle: mean updates by the fold's own blocks.
        truth: the gradient of two blocks, and of either's absence.
        place: the fold, and which blocks of the other one the gradient is taken from, the even or the odd ones.
    """
    left = _left_out(summed(middle, truth[0]), place[0])
    whole = middle.mean(axis=0)
    for block in range(2):
        left[_row(place, block)] = summed(whole, truth[1 + block])
    return left


def _left_out(by_block: Float[np.ndarray, "own arms"], fold: int) -> Float[np.ndarray, "left arms"]:
    """Average over the fold's own blocks, then without each of them; the other fold's change nothing."""
    kept = np.ones((1 + BLOCKS, _OWN))
    kept[1 + fold :: _FOLDS] -= np.eye(_OWN)
    return ((kept / kept.sum(axis=1, keepdims=True))[..., None] * by_block).sum(axis=1)


def _size_left(by_block: Float[np.ndarray, "own arms"], fold: int) -> Float[np.ndarray, "left arms"]:
    """Leave blocks out of a size in its logarithm, which cannot become negative where a block made most of it."""
    left = _left_out(by_block, fold)
    whole = np.maximum(left[0], np.finfo(np.float64).tiny)
    return left[0] * np.exp(left / whole - np.where(left[0] > 0.0, 1.0, 0.0))


def believed(
    along: Sequence[Float[np.ndarray, "left arms folds"]],
    size: Float[np.ndarray, "left arms folds"],
    left_out: Float[np.ndarray, "blocks folds"],
) -> Float[np.ndarray, "left arms folds"]:
    """Choose the gradient that is believed: the robust one, unless the mean's gain of some arm is surely another.

    Args:
        along: E⟨G, u⟩ with either gradient, the robust one first; of all draws, then with each block left out.
        size: E‖u‖² likewise.
        left_out: :attr:`Progress.left_out`.
    """
    robust, plain = along
    apart = _log_gain(plain, size) - _log_gain(robust, size)
    known = np.isfinite(apart).all(axis=0)
    if not known.any():
        return robust
    apart = apart[:, known]
    weights = left_out.mean(axis=1, where=left_out > 0.0)[:, None]
    stderr = np.sqrt((weights * np.square(apart[1:] - apart[1:].mean(axis=0))).sum(axis=0))
    sure = (np.abs(apart[0]) > _SURELY * stderr) & (np.abs(apart[0]) > _MATERIAL)
    return plain if sure.any() else robust


def _log_gain(along: Float[np.ndarray, "left arms folds"], size: Float[np.ndarray, "left arms folds"]) -> np.ndarray:
    """Logarithm of each arm's gain over both folds; NaN where a progress or a size is not positive."""
    n, d = along.mean(axis=-1), size.mean(axis=-1)
    usable = (n > 0.0) & (d > 0.0)
    log = 2.0 * np.log(np.where(usable, n, np.nan)) - np.log(np.where(usable, d, np.nan))
    return log - log[:, :1]


def _row(place: tuple[int, int], block: int) -> int:
    """Find the row of the numbers without one of two blocks of the other fold."""
    fold, half = place
    return 1 + (1 - fold) + _FOLDS * (half + 2 * block)


def _extrapolated(
    whole: _Fold, halves: Sequence[_Fold], place: tuple[int, int], draws: int, optimizer: Simulated
) -> _Fold:
    r"""Take out what is due to v being read off few draws: what halving them adds, more of them would take away.

    $\log x = \log x_m + r\,(\log x_m - \log x_{m/2})$ with $r = 1 - m/m_\beta$, where $m_\beta = (1 + \beta_2)/(1 -
    \beta_2)$ draws are what the optimizer's own average is worth.

    Args:
        whole: with v from all draws.
        halves: with v from either half, of all draws alone.
        place: the fold, and which blocks of the other one v was read from.
        draws: m.
        optimizer: has β₂.
    """
    decay = 0.999 if optimizer.second_decay is None else optimizer.second_decay
    reach = max(0.0, 1.0 - draws * (1.0 - decay) / (1.0 + decay))

    def better(found: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        usable = (found[0] > 0.0) & (first > 0.0) & (second > 0.0)
        log, one, other = (np.log(np.where(usable, x, 1.0)) for x in (found[0], first, second))
        more = found * np.exp(reach * (log - 0.5 * (one + other)))
        for block, away in enumerate((other - one, one - other)):
            more[_row(place, block)] = np.where(usable, more[0] * np.exp(0.5 * away), found[_row(place, block)])
        return more

    first, second = halves
    size = better(whole.size, first.size[0], second.size[0])
    along = [better(whole.along[of], first.along[of, 0], second.along[of, 0]) for of in range(len(_GRADIENTS))]
    scale = np.sqrt(size[0] / np.maximum(whole.size[0], np.finfo(np.float64).tiny))
    return _Fold(np.stack(along), size, whole.middle * scale[:, None])


def _echo(momentum: float, draws: int) -> float:
    """Share of an average's noise that comes from each draw's coming round again."""
    return 1.0 - (1.0 - momentum**draws) / (1.0 + momentum**draws)


def _steady_left(middle: Float[np.ndarray, "folds own coords"], curvature: Float[np.ndarray, " coords"]) -> np.ndarray:
    """Multiply the folds' mean updates, with one block of the run left out of its own fold."""
    left = np.empty(BLOCKS)
    for block in range(BLOCKS):
        own, other = middle[block % _FOLDS], middle[1 - block % _FOLDS]
        kept = np.delete(own, block // _FOLDS, axis=0).mean(axis=0)
        left[block] = (kept * other.mean(axis=0) * curvature).sum()
    return left


def summed(updates: Float[np.ndarray, "*arms coords"], weights: Float[np.ndarray, " coords"]) -> np.ndarray:
    """Sum over coordinates in an order that does not depend on how many arms there are, as BLAS would."""
    return np.einsum("...c,c->...", updates, weights)


def _shared(params: Sequence[Mapping[str, JsonValue]]) -> Mapping[str, JsonValue]:
    return params[0] if all(each == params[0] for each in params) else {}


def problem_of(sample: CoordinateSample) -> Status:
    """Tell why nothing can be judged from a sample, or ``OK``.

    Args:
        sample: of one layer.
    """
    if sample.values.shape[0] < _FEWEST or sample.values.shape[1] == 0:
        return Status.TOO_FEW_DRAWS
    if not (np.isfinite(sample.values).all() and np.isfinite(sample.model_sq_norms).all()):
        return Status.NON_FINITE
    return Status.OK if np.any(sample.values) else Status.ALL_ZERO


def gradients_of(sample: CoordinateSample, draws: int) -> Gradients:
    """Take a sample as remedies meet it, scales read off pairs of consecutive draws.

    Args:
        sample: of one layer.
        draws: how many of it, an even number.
    """
    values = sample.values[:draws].astype(np.float64)
    norms, model_norms = np.sqrt(sample.draw_sq_norms[:draws]), np.sqrt(sample.model_sq_norms[:draws])
    noise = np.abs(values[0::2] - values[1::2]) / np.sqrt(2.0)
    return Gradients(
        values=values,
        norms=norms,
        model_norms=model_norms,
        median_norm=float(np.median(norms)),
        median_model_norm=float(np.median(model_norms)),
        scale=float(np.median(noise[noise > 0.0])) if np.any(noise > 0.0) else 1.0,
        filling=values,
    )


def curvature_of(values: Values, optimizer: Simulated) -> Float[np.ndarray, " coords"]:
    """One reference for all arms: under Adam √v of the plain gradients, else 1.

    Curvature does not jump with one loud draw, so v comes from the median |g|; where most draws are zero (rows of rare
    tokens) from the mean of squares.
    """
    if optimizer.second_decay is None:
        return np.ones(values.shape[1])
    middle = np.median(np.abs(values), axis=0) / _MEDIAN_OF_GAUSSIAN
    return np.where(middle > 0.0, middle, np.sqrt(np.square(values).mean(axis=0)))


def _median_gradient(values: Float[np.ndarray, "blocks draws coords"]) -> Float[np.ndarray, " coords"]:
    """Take the median of the means of four parts of each block, of two where its draws do not divide by four."""
    blocks, draws, coords = values.shape
    parts = 4 if draws % 4 == 0 else 2
    return np.median(values.reshape(blocks * parts, draws // parts, coords).mean(axis=1), axis=0)


def _mean_gradient(values: Float[np.ndarray, "blocks draws coords"]) -> Float[np.ndarray, " coords"]:
    return values.mean(axis=(0, 1))


_GRADIENTS = (_median_gradient, _mean_gradient)
