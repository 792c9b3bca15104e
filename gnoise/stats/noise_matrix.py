"""Noise matrices as plain arrays in, the sample localization is read from out.

The obvious version of what collecting does on tensors: whole spectra up to a smaller side of 256, SciPy's iterative
solver above, every line in the sum over 4-cycles, and every matrix permuted.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.linalg import svds

from gnoise.records import MatrixSample
from gnoise.stats.spectrum import BLOCK_LONG, BLOCK_SHORT, EXACT_SIDE, bulk_scale

_WINSOR = 3.0

Matrix = Float[np.ndarray, "rows columns"]


def matrix_sample(noise: Float[np.ndarray, "pairs rows columns"], rng: np.random.Generator) -> MatrixSample:
    """Reduce noise matrices to their norms, top singular vectors and winsorised energies.

    Args:
        noise: independent noise matrices of one layer.
        rng: for permutations, and for the block the bulk is read from where the smaller side is above 256.

    Returns:
        the sample; NaN wherever a matrix that is not finite would have gone into a number.
    """
    pairs = [_reduce(matrix.astype(np.float64), rng) for matrix in noise]
    series = {name: np.array([pair[name] for pair in pairs]) for name in _SERIES}
    nuclear = [pair["nuclear"] for pair in pairs]
    return MatrixSample(
        rows=noise.shape[1],
        columns=noise.shape[2],
        nuclear=None if None in nuclear else np.array(nuclear),
        row_energy=np.array([pair["row_energy"] for pair in pairs]).reshape(len(pairs), noise.shape[1]),
        column_energy=np.array([pair["column_energy"] for pair in pairs]).reshape(len(pairs), noise.shape[2]),
        permuted_ratio=np.array([pair["permuted_ratio"] for pair in pairs if pair["spectral"] != 0.0]),
        max_position=np.array([pair["max_position"] for pair in pairs], dtype=np.int64),
        **series,
    )


_SERIES = (
    "spectral", "max_entry", "frobenius_sq", "l1", "sum_fourth", "ipr_left", "ipr_right",
    "bulk_scale", "winsorised_fourth", "coherent_fourth",
)  # fmt: skip


def coherent_fourth(winsorised: Matrix) -> float:
    r"""Sum products over 4-cycles: what entries of one sign pattern have and independent ones have not.

    $$\sum_{i \ne j} \sum_{k \ne l} W_{ik} W_{jk} W_{jl} W_{il}
      = \lVert W W^\top\rVert_F^2 - \sum_i R_i^2 - \sum_k C_k^2 + \sum_{ik} W_{ik}^4$$

    with row and column energies R and C. Its mean is zero when signs are independent, whatever the sizes are;
    noise of low rank with singular values $\lambda_k$ adds about $\sum_k \lambda_k^4$.
    """
    squares = np.square(winsorised)
    gram = winsorised @ winsorised.T if winsorised.shape[0] <= winsorised.shape[1] else winsorised.T @ winsorised
    lines = np.square(squares.sum(0)).sum() + np.square(squares.sum(1)).sum()
    return float(np.square(gram).sum() - lines + np.square(squares).sum())


class _Spectrum(NamedTuple):
    """What is read from one spectrum; ``nuclear`` only where it is whole."""

    sigma: float
    left: Float[np.ndarray, " rows"]
    right: Float[np.ndarray, " columns"]
    bulk: float
    nuclear: float | None


def _reduce(matrix: Matrix, rng: np.random.Generator) -> dict[str, Any]:
    """Reduce one matrix, relative to its largest entry as far as powers may overflow."""
    if not np.isfinite(matrix).all():
        return dict.fromkeys((*_SERIES, "nuclear", "permuted_ratio"), np.nan) | {
            "max_position": 0,
            "row_energy": np.full(matrix.shape[0], np.nan),
            "column_energy": np.full(matrix.shape[1], np.nan),
        }
    magnitudes = np.abs(matrix)
    scale = float(magnitudes.max())
    if scale == 0.0:
        return dict.fromkeys((*_SERIES, "nuclear", "permuted_ratio", "max_position"), 0.0) | {
            "row_energy": np.zeros(matrix.shape[0]),
            "column_energy": np.zeros(matrix.shape[1]),
        }
    unit = matrix / scale
    limit = _WINSOR * float(np.median(magnitudes[magnitudes > 0.0]))
    winsorised = np.clip(matrix / limit, -1.0, 1.0)
    squares = np.square(winsorised)
    live = np.ix_(np.any(matrix, axis=1), np.any(matrix, axis=0))
    top = _top_singular(unit[live], rng)
    permuted = rng.permutation(unit.reshape(-1)).reshape(unit.shape)
    return {
        "spectral": top.sigma * scale,
        "nuclear": None if top.nuclear is None else top.nuclear * scale,
        "max_entry": scale,
        "max_position": int(magnitudes.argmax()),
        "frobenius_sq": float(np.square(unit).sum()) * scale**2,
        "l1": float(magnitudes.sum()),
        "sum_fourth": float(np.power(unit, 4).sum()) * scale**4,
        "ipr_left": float(np.power(top.left, 4).sum()),
        "ipr_right": float(np.power(top.right, 4).sum()),
        "bulk_scale": top.bulk * scale,
        "row_energy": squares.sum(1) * limit**2,
        "column_energy": squares.sum(0) * limit**2,
        "winsorised_fourth": float(np.square(squares).sum()) * limit**4,
        "coherent_fourth": coherent_fourth(winsorised) * limit**4,
        "permuted_ratio": top.sigma / _top_singular(permuted, rng).sigma,
    }


def _top_singular(matrix: Matrix, rng: np.random.Generator) -> _Spectrum:
    """Decompose a matrix without empty lines."""
    if min(matrix.shape) <= EXACT_SIDE:
        left, sigmas, right = np.linalg.svd(matrix, full_matrices=False)
        bulk = bulk_scale(sigmas, *matrix.shape)
        return _Spectrum(float(sigmas[0]), left[:, 0], right[0], bulk, float(sigmas.sum()))
    found: Any = svds(matrix, k=1, v0=rng.standard_normal(min(matrix.shape)))
    vectors, sigmas, others = found
    most = (BLOCK_SHORT, BLOCK_LONG) if matrix.shape[0] <= matrix.shape[1] else (BLOCK_LONG, BLOCK_SHORT)
    chosen = [_some(side, limit, rng) for side, limit in zip(matrix.shape, most, strict=True)]
    block = matrix[np.ix_(*chosen)]
    bulk = bulk_scale(np.linalg.svd(block, compute_uv=False), *block.shape)
    left, right = np.ravel(vectors), np.ravel(others)
    return _Spectrum(float(sigmas[0]), left, right, bulk, None)


def _some(lines: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    return rng.choice(lines, size=min(lines, most), replace=False)
