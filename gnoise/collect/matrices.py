"""One noise matrix in, the numbers localization is read from out."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gnoise.records import MatrixSample

EXACT_SIDE = 256
"""Up to this smaller side the spectrum is exact; above it σ₁ comes from power iteration."""
_POWER_STEPS = 40
_WINSOR = 3.0


@dataclass(frozen=True)
class MatrixNumbers:
    """One pair's entry of every series of :class:`MatrixSample`."""

    spectral: float
    nuclear: float | None
    max_entry: float
    frobenius_sq: float
    l1: float
    sum_fourth: float
    ipr_left: float
    ipr_right: float
    row_energy: Float[np.ndarray, " rows"]
    column_energy: Float[np.ndarray, " columns"]
    winsorised_fourth: float


def matrix_numbers(
    noise_MN: Float[Tensor, "rows columns"], *, median_magnitude: float, generator: torch.Generator
) -> MatrixNumbers:
    """Reduce one noise matrix.

    Args:
        noise_MN: half the difference of two draws, times √2.
        median_magnitude: median |E| of its non-zero entries, for winsorising at three times that.
        generator: for the start of the power iteration.
    """
    scale = float(noise_MN.abs().max())
    if scale == 0.0:
        return _zero_matrix(*noise_MN.shape)
    # Relative to the largest entry: in float32 the squares of 1e-30 would vanish, those of 1e30 overflow.
    unit_MN = noise_MN / scale
    sigma, nuclear, left_M, right_N = _top_singular(unit_MN, generator)
    squared_MN = unit_MN.square()
    winsorised_MN = squared_MN.clamp(max=(_WINSOR * median_magnitude / scale) ** 2)
    return MatrixNumbers(
        spectral=sigma * scale,
        nuclear=None if nuclear is None else nuclear * scale,
        max_entry=scale,
        frobenius_sq=float(squared_MN.sum(dtype=torch.float64)) * scale**2,
        l1=float(unit_MN.abs().sum(dtype=torch.float64)) * scale,
        sum_fourth=float(squared_MN.square().sum(dtype=torch.float64)) * scale**4,
        ipr_left=float(left_M.pow(4).sum()),
        ipr_right=float(right_N.pow(4).sum()),
        row_energy=winsorised_MN.sum(1, dtype=torch.float64).numpy(force=True) * scale**2,
        column_energy=winsorised_MN.sum(0, dtype=torch.float64).numpy(force=True) * scale**2,
        winsorised_fourth=float(winsorised_MN.square().sum(dtype=torch.float64)) * scale**4,
    )


def _zero_matrix(rows: int, columns: int) -> MatrixNumbers:
    return MatrixNumbers(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.zeros(rows), np.zeros(columns), 0.0)


def matrix_sample(rows: int, columns: int, numbers: list[MatrixNumbers]) -> MatrixSample:
    """Stack the numbers of consecutive pairs."""
    series = {
        field.name: np.array([getattr(x, field.name) for x in numbers])
        for field in fields(MatrixNumbers)
        if field.name != "nuclear"
    }
    nuclear = [x.nuclear for x in numbers if x.nuclear is not None]
    return MatrixSample(
        rows=rows,
        columns=columns,
        nuclear=np.array(nuclear) if len(nuclear) == len(numbers) else None,
        **series,
    )


def _top_singular(
    noise_MN: Float[Tensor, "rows columns"], generator: torch.Generator
) -> tuple[float, float | None, Tensor, Tensor]:
    """σ₁, Σσ (``None`` where too dear), u₁ and v₁ of a matrix that is not zero."""
    wide = noise_MN.shape[0] <= noise_MN.shape[1]
    short_SL = noise_MN if wide else noise_MN.T
    if short_SL.shape[0] <= EXACT_SIDE:
        # The Gram matrix of the smaller side, in float64 so that squaring costs no digits that are read.
        exact_SL = short_SL.double()
        values_S, vectors_SS = torch.linalg.eigh(exact_SL @ exact_SL.T)
        sigmas_S = values_S.clamp(min=0).sqrt()
        sigma, nuclear, short_S = float(sigmas_S[-1]), float(sigmas_S.sum()), vectors_SS[:, -1]
        long_L = exact_SL.T @ short_S
    else:
        sigma, short_S = _power_iteration(short_SL, generator)
        nuclear = None
        long_L = short_SL.T @ short_S
    long_L = long_L / torch.linalg.vector_norm(long_L)
    return (sigma, nuclear, short_S, long_L) if wide else (sigma, nuclear, long_L, short_S)


def _power_iteration(short_SL: Tensor, generator: torch.Generator) -> tuple[float, Tensor]:
    vector_S = torch.randn(short_SL.shape[0], generator=generator).to(short_SL)
    sigma = 0.0
    for _ in range(_POWER_STEPS):
        long_L = short_SL.T @ (vector_S / torch.linalg.vector_norm(vector_S))
        vector_S = short_SL @ (long_L / torch.linalg.vector_norm(long_L))
        sigma = float(torch.linalg.vector_norm(vector_S))
    return sigma, vector_S / torch.linalg.vector_norm(vector_S)
