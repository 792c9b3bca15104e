"""What collecting leaves of gradients: frozen dataclasses of arrays, one a kind of sample."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class DrawSample:
    """What was drawn, for the whole model.

    Attributes:
        example_ids: index of each example in its data (the window number for token files).
        example_losses: each example's own mean loss, in nats for language models.
        example_weights: ``w`` with draw = Σ w_i g_i; 1/examples_per_draw for equal examples.
        skipped: draws dropped because loss or gradient was not finite.
    """

    example_ids: Int[np.ndarray, "draws examples"]
    example_losses: Float[np.ndarray, "draws examples"]
    example_weights: Float[np.ndarray, "draws examples"]
    skipped: int = 0


@dataclass(frozen=True)
class NormSample:
    """Squared gradient norms of one layer (or, summed, of the model) at three sizes.

    Attributes:
        example_sq_norms: ‖g_i‖² of each example's own mean-loss gradient; no batch size left inside.
        draw_sq_norms: ‖g_m‖² of each draw.
        block_sq_norms: ‖mean of a block's draws‖²; draws split evenly, in order, into the blocks.
        example_weights: as in :class:`DrawSample`.
    """

    example_sq_norms: Float[np.ndarray, "draws examples"]
    draw_sq_norms: Float[np.ndarray, " draws"]
    block_sq_norms: Float[np.ndarray, " blocks"]
    example_weights: Float[np.ndarray, "draws examples"]


@dataclass(frozen=True)
class Sketch:
    """Exact counts of float32 values by sign, exponent and leading mantissa bits.

    A finite, non-zero ``x`` falls into bucket ``bits(x) >> 15``, whose values all agree to 2⁻⁸ relative.

    Attributes:
        buckets: occupied bucket numbers, ascending, each in [0, 2¹⁷).
        counts: values in each; positive.
        zeros: exact zeros, counted apart (a rare token's embedding row has nothing else).
        nonfinite: NaN and infinities, counted apart.
    """

    buckets: Int[np.ndarray, " buckets"]
    counts: Int[np.ndarray, " buckets"]
    zeros: int
    nonfinite: int


@dataclass(frozen=True)
class SketchSample:
    """Sketches of every noise entry of one layer, one sketch a block of draws.

    Attributes:
        entries: of raw noise: the view *across entries*.
        draws: of noise divided by each coordinate's own scale: the view *across draws*. The scale
            is the geometric mean of |noise| over ``scale_pairs`` pairs which are not in the sketch; blocks
            that only served the scale are absent.
        scale_pairs: pairs each coordinate's scale was taken from.
    """

    entries: tuple[Sketch, ...]
    draws: tuple[Sketch, ...]
    scale_pairs: int


@dataclass(frozen=True)
class CoordinateSample:
    """The same randomly chosen coordinates in every draw.

    Attributes:
        index: flat positions within the tensor, ascending.
        values: gradient entries of each draw at those positions (the draws, not their noise).
        draw_sq_norms: ‖g_m‖² of the full tensor.
        model_sq_norms: ‖g_m‖² over all tensors.
        second_moment: Adam's v at those positions, bias-corrected, as the checkpoint left it; ``None`` without one.
    """

    index: Int[np.ndarray, " coords"]
    values: Float[np.ndarray, "draws coords"]
    draw_sq_norms: Float[np.ndarray, " draws"]
    model_sq_norms: Float[np.ndarray, " draws"]
    second_moment: Float[np.ndarray, " coords"] | None = None


@dataclass(frozen=True)
class MatrixSample:
    """Of each noise matrix (one a pair of draws) of a layer seen as rows × columns.

    Convolution kernels are flattened to (out, in · height · width).

    Attributes:
        rows: m.
        columns: n.
        spectral: largest singular value σ₁.
        nuclear: sum of singular values; ``None`` where the smaller side makes it too dear.
        max_entry: max |E_ij|.
        frobenius_sq: Σ E².
        l1: Σ |E|.
        sum_fourth: Σ E⁴.
        ipr_left: Σ u₁⁴ of the top left singular vector, in [1/m, 1].
        ipr_right: Σ v₁⁴ of the top right singular vector, in [1/n, 1].
        row_energy: per pair Σ_j W_ij² of the *winsorised* noise W (|W| ≤ 3 MAD of the non-zero entries).
        column_energy: likewise Σ_i W_ij².
        winsorised_fourth: Σ W⁴.
        bulk_scale: standard deviation of an entry by the median singular value (of a random block where the
            smaller side is large), leaving lines aside that are zero throughout; 0 where at least half of the singular
            values are nothing but rounding.
        coherent_fourth: Σ W_ik W_jk W_jl W_il over i ≠ j and k ≠ l, with W keeping its signs: Σσ⁴ of W less what the
            same entries with random signs give; positive for noise of low rank.
        permuted_ratio: σ₁ over σ₁ of the same entries in random order, of the first pair of each block.
        max_position: row · n + column of the largest entry.

    The last four are ``None`` in older runs.
    """

    rows: int
    columns: int
    spectral: Float[np.ndarray, " pairs"]
    nuclear: Float[np.ndarray, " pairs"] | None
    max_entry: Float[np.ndarray, " pairs"]
    frobenius_sq: Float[np.ndarray, " pairs"]
    l1: Float[np.ndarray, " pairs"]
    sum_fourth: Float[np.ndarray, " pairs"]
    ipr_left: Float[np.ndarray, " pairs"]
    ipr_right: Float[np.ndarray, " pairs"]
    row_energy: Float[np.ndarray, "pairs rows"]
    column_energy: Float[np.ndarray, "pairs columns"]
    winsorised_fourth: Float[np.ndarray, " pairs"]
    bulk_scale: Float[np.ndarray, " pairs"] | None = None
    coherent_fourth: Float[np.ndarray, " pairs"] | None = None
    permuted_ratio: Float[np.ndarray, " permuted"] | None = None
    max_position: Int[np.ndarray, " pairs"] | None = None


@dataclass(frozen=True)
class ProgressSample:
    r"""What a matrix optimizer would have done to one matrix, arm by arm: ⟨G, u⟩ of its updates u.

    The first draws of a run give the gradient G, in four parts; its second half makes updates of every arm, of which
    each block keeps the means of two rows of consecutive ones. u has a spectral norm of about one. Rows of the first
    half are zero. Older runs have a row a block, of updates that start from nothing, and a G of bounded entries.

    Attributes:
        arms: settings of :data:`gnoise.stats.evidence.MATRIX_ARMS`, the first of them none.
        along: ⟨G, u⟩, with G first the median of the parts, shared out to them, then each part's plain mean.
        scale: median of the non-zero |noise| entries in the first half, for arms' parameters.
        median_norm: of ‖g‖ in the first half, likewise.
        noise_nuclear: ‖n‖_* of the noise n of some pairs of draws, at most four a block.
        along_mean: ⟨g, u⟩ of each draw of the second half, with u the polar factor of the mean of the first.
        mean_nuclear: ‖·‖_* of that mean.

    The last three are ``None`` in older runs. Nuclear norms are those of :func:`gnoise.remedies.geometry.nuclear_norm`.
    """

    arms: tuple[str, ...]
    along: Float[np.ndarray, "rows arms gradients parts"]
    scale: float
    median_norm: float
    noise_nuclear: Float[np.ndarray, " pairs"] | None = None
    along_mean: Float[np.ndarray, " second_half"] | None = None
    mean_nuclear: float | None = None


@dataclass(frozen=True)
class LayerSamples:
    """All samples of one layer.

    Attributes:
        norms: squared norms of draws and examples.
        sketch: counts of every entry.
        coordinates: the same entries in every draw.
        matrix: only where the tensor has two or more dimensions.
        progress: only of some matrices, and under a matrix optimizer.
    """

    norms: NormSample
    sketch: SketchSample
    coordinates: CoordinateSample
    matrix: MatrixSample | None
    progress: ProgressSample | None = None
