"""Draws with a known cause of trouble, for evidence to find the remedy of."""

import numpy as np

from gnoise.records import CoordinateSample


def planted(cause: str, seed: int, *, draws: int = 64, examples: int = 8, coords: int = 3840) -> CoordinateSample:
    """A gradient of size 0.3 an entry in noise of size 2, with one cause of trouble or none.

    Args:
        cause: ``equal`` or ``lognormal`` scales of Gaussian noise; ``cauchy``: 3% of entries carry Cauchy noise as
            well; ``loud``: one example in twenty is thirty times as loud; ``rare``: one entry in a hundred of an
            example is large, and always of that entry's own sign: signal, as in the rows of rare tokens, not noise.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.standard_normal(coords)) if cause == "lognormal" else np.ones(coords)
    gradient = 0.3 * rng.standard_normal(coords)
    noise = 2.0 * rng.standard_normal((draws, examples, coords))
    if cause == "cauchy":
        hit = rng.random(noise.shape) < 0.03
        noise[hit] += 6.0 * rng.standard_cauchy(int(hit.sum()))
    if cause == "rare":
        noise = 0.25 * noise + 60.0 * rng.standard_normal(coords) * (rng.random(noise.shape) < 0.01)
    each = (gradient + noise) * scales
    if cause == "loud":
        each *= np.where(rng.random((draws, examples, 1)) < 0.05, 30.0, 1.0)
    values = each.mean(axis=1)
    sq_norms = np.square(values).sum(axis=1)
    return CoordinateSample(np.arange(coords), values.astype(np.float32), sq_norms, sq_norms)
