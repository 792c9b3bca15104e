"""Small samples made by hand from per-example gradients: the obvious version of what collect does."""

import numpy as np

from gnoise.records import (
    CoordinateSample,
    DrawSample,
    Kind,
    Layer,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    Sketch,
    SketchSample,
)
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.spectrum import bulk_scale

BLOCKS = 8
ROWS, COLUMNS = 6, 10
LAYER = Layer("blocks.0.mlp.weight", Kind.MLP, (ROWS, COLUMNS), depth=0, owners=("blocks.0.mlp.weight",))


def gaussian(draws: int = 64, examples: int = 4, *, seed: int = 0) -> np.ndarray:
    """Per-example gradients (draws, examples, rows, columns): a mean of 0.5 and standard normal noise."""
    rng = np.random.default_rng(seed)
    return 0.5 + rng.standard_normal((draws, examples, ROWS, COLUMNS))


def layer_samples(gradients: np.ndarray, *, blocks: int = BLOCKS) -> LayerSamples:
    """Reduce per-example gradients to every sample of one layer.

    Args:
        gradients: (draws, examples, rows, columns); draws an even multiple of ``blocks``.
        blocks: complete blocks collected, 1 to 8; fewer than 8 for a run that was cut off.
    """
    with np.errstate(all="ignore"):
        means = gradients.mean(1)
        noise = (means[0::2] - means[1::2]) * np.sqrt(0.5)
        sq_norms = np.square(means).sum((1, 2))
        return LayerSamples(
            norms=norm_sample(gradients, blocks=blocks),
            sketch=sketch_sample(noise, blocks=blocks),
            coordinates=CoordinateSample(
                index=np.arange(means[0].size),
                values=means.reshape(len(means), -1).astype(np.float32),
                draw_sq_norms=sq_norms,
                model_sq_norms=4.0 * sq_norms,
                second_moment=np.nan_to_num(np.square(means).mean(0).ravel(), posinf=1.0),
            ),
            matrix=matrix_sample(noise),
            progress=progress_sample(means, noise, blocks=blocks),
        )


def no_samples() -> LayerSamples:
    """Make what a run holds that was cut off before its first block."""
    none, table = np.empty(0), np.empty((0, 0))
    return LayerSamples(
        norms=NormSample(table, none, none, table),
        sketch=SketchSample((), (), scale_pairs=0),
        coordinates=CoordinateSample(np.empty(0, np.int64), table, none, none),
        matrix=None,
    )


def norm_sample(gradients: np.ndarray, *, blocks: int = BLOCKS) -> NormSample:
    """Square and sum at the sizes of one example, one draw and one block."""
    draws, examples = gradients.shape[:2]
    means = gradients.mean(1)
    per_block = np.array([part.mean(0) for part in np.split(means, blocks)])
    return NormSample(
        example_sq_norms=np.square(gradients).sum((2, 3)),
        draw_sq_norms=np.square(means).sum((1, 2)),
        block_sq_norms=np.square(per_block).sum((1, 2)),
        example_weights=np.full((draws, examples), 1.0 / max(examples, 1)),
    )


def sketch_sample(noise: np.ndarray, *, blocks: int = BLOCKS) -> SketchSample:
    """Count noise entries block by block, raw, and from the fifth block on by each entry's own scale."""
    parts = np.split(noise, blocks)
    learnt = noise[: sum(len(part) for part in parts[: BLOCKS // 2])]
    visited = (learnt != 0.0).mean(0) > 0.5
    scale = np.exp(np.log(np.abs(learnt), where=learnt != 0.0, out=np.zeros_like(learnt)).mean(0))
    return SketchSample(
        entries=tuple(_sketch(part) for part in parts),
        draws=tuple(_sketch((part / scale)[:, visited]) for part in parts[BLOCKS // 2 :]),
        scale_pairs=len(learnt) if blocks > BLOCKS // 2 else 0,
    )


def matrix_sample(noise: np.ndarray) -> MatrixSample:
    """Take norms, singular values and vectors, and winsorised energies of every noise matrix, permuting all."""
    finite = np.where(np.isfinite(noise), noise, 0.0)
    left, sigmas, right = np.linalg.svd(finite, full_matrices=False)
    poison = np.where(np.isfinite(noise).all((1, 2)), 0.0, np.nan)
    magnitude = np.abs(noise)
    limit = 3.0 * np.array([np.median(x[x > 0]) if (x > 0).any() else 0.0 for x in magnitude]).reshape(-1, 1, 1)
    winsorised = np.square(np.minimum(magnitude, limit))
    signed = np.sign(finite) * np.sqrt(winsorised)
    gram = np.square(signed @ signed.transpose(0, 2, 1)).sum((1, 2))
    lines = np.square(winsorised.sum(1)).sum(1) + np.square(winsorised.sum(2)).sum(1)
    alive = sigmas[:, 0] > 0
    mixed = np.random.default_rng(0).permuted(finite.reshape(len(noise), -1), axis=1).reshape(noise.shape)
    live = [(int(x.any(1).sum()), int(x.any(0).sum())) for x in finite]
    return MatrixSample(
        rows=noise.shape[1],
        columns=noise.shape[2],
        spectral=sigmas[:, 0] + poison,
        nuclear=sigmas.sum(1) + poison,
        max_entry=magnitude.max((1, 2)),
        frobenius_sq=np.square(noise).sum((1, 2)),
        l1=magnitude.sum((1, 2)),
        sum_fourth=np.power(noise, 4).sum((1, 2)),
        ipr_left=np.where(alive, np.power(left[:, :, 0], 4).sum(1), 0.0) + poison,
        ipr_right=np.where(alive, np.power(right[:, 0, :], 4).sum(1), 0.0) + poison,
        row_energy=winsorised.sum(2),
        column_energy=winsorised.sum(1),
        winsorised_fourth=np.square(winsorised).sum((1, 2)),
        bulk_scale=np.array([bulk_scale(s, *x) if min(x) else 0.0 for s, x in zip(sigmas, live, strict=True)]) + poison,
        coherent_fourth=gram - lines + np.square(winsorised).sum((1, 2)),
        permuted_ratio=sigmas[alive, 0] / np.linalg.norm(mixed[alive], 2, axis=(1, 2)),
        max_position=magnitude.reshape(len(noise), -1).argmax(1),
    )


def progress_sample(means: np.ndarray, noise: np.ndarray, *, blocks: int = BLOCKS) -> ProgressSample:
    """Hold the second half's draws against the polar factor of the first half's mean; no arm but none."""
    half = len(means) // blocks * min(blocks, BLOCKS // 2)
    mean, rest = means[:half].mean(0), means[half:]
    finite = bool(np.isfinite(mean).all())
    left, sigmas, right = np.linalg.svd(mean if finite else np.zeros_like(mean), full_matrices=False)
    factor = left * (sigmas > 1e-9 * sigmas[0]) @ right
    along = (rest * factor).sum((1, 2))
    updates = np.zeros((blocks, 1, 2, 4))
    if len(rest):
        updates[BLOCKS // 2 :, :, :, :] = along.reshape(blocks - BLOCKS // 2, -1).mean(1).reshape(-1, 1, 1, 1)
    return ProgressSample(
        arms=("",),
        along=updates,
        scale=float(np.median(np.abs(noise))),
        median_norm=float(np.median(np.sqrt(np.square(means[:half]).sum((1, 2))))),
        noise_nuclear=np.array([np.linalg.norm(x, "nuc") if np.isfinite(x).all() else np.nan for x in noise]),
        along_mean=along,
        mean_nuclear=float(sigmas.sum()) if finite else np.nan,
    )


def draw_sample(draws: int, examples: int) -> DrawSample:
    """Number the examples in the order they came."""
    return DrawSample(
        example_ids=np.arange(draws * examples).reshape(draws, examples),
        example_losses=np.full((draws, examples), 3.0),
        example_weights=np.full((draws, examples), 1.0 / max(examples, 1)),
    )


def _sketch(values: np.ndarray) -> Sketch:
    return sketch_from_values(values.astype(np.float32))
