"""One noise matrix in, the numbers localization is read from out."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gnoise.collect.singular import sigma_max, top_singular
from gnoise.records import MatrixSample
from gnoise.stats.spectrum import EXACT_SIDE

_WINSOR = 3.0
_SAMPLED_LINES = 64
_CHUNK, _MANY = 16, 1 << 16


@dataclass(frozen=True)
class MatrixNumbers:
    """One pair's entry of every series of :class:`MatrixSample`."""

    spectral: float
    nuclear: float | None
    max_entry: float
    max_position: int
    frobenius_sq: float
    l1: float
    sum_fourth: float
    ipr_left: float
    ipr_right: float
    bulk_scale: float
    row_energy: Float[np.ndarray, " rows"]
    column_energy: Float[np.ndarray, " columns"]
    winsorised_fourth: float
    coherent_fourth: float
    permuted_ratio: float | None


def matrix_numbers(
    noise_MN: Float[Tensor, "rows columns"],
    *,
    median_magnitude: float,
    generator: torch.Generator,
    permute: bool = False,
) -> MatrixNumbers:
    """Reduce one noise matrix.

    Args:
        noise_MN: half the difference of two draws, times √2.
        median_magnitude: median |E| of its non-zero entries, for winsorising at three times that.
        generator: for all that is random: starts, lines that are sampled, the permutation.
        permute: also find σ₁ of the entries in random order.
    """
    position, scale = _largest_entry(noise_MN)
    if scale == 0.0:
        return _zero_matrix(*noise_MN.shape)
    # Relative to the largest entry: in float32 the squares of 1e-30 would vanish, those of 1e30 overflow.
    unit_MN = noise_MN / scale
    # Relative to the limit for the same reason: a single spike must not make the others' squares vanish.
    limit = _WINSOR * median_magnitude
    winsorised_MN = (noise_MN / limit).clamp_(-1.0, 1.0)
    energy_MN = winsorised_MN.square()
    row_energy, column_energy = energy_MN.sum(1).double(), energy_MN.sum(0).double()
    top = top_singular(unit_MN, live_rows=row_energy > 0, live_columns=column_energy > 0, generator=generator)
    return MatrixNumbers(
        spectral=top.sigma * scale,
        nuclear=None if top.nuclear is None else top.nuclear * scale,
        max_entry=scale,
        max_position=position,
        frobenius_sq=_sum_squares(unit_MN) * scale**2,
        l1=float(unit_MN.abs().sum()) * scale,
        sum_fourth=_sum_squares(unit_MN.square()) * scale**4,
        ipr_left=float(top.left.pow(4).sum()),
        ipr_right=float(top.right.pow(4).sum()),
        bulk_scale=top.bulk * scale,
        row_energy=row_energy.numpy(force=True) * limit**2,
        column_energy=column_energy.numpy(force=True) * limit**2,
        winsorised_fourth=_sum_squares(energy_MN) * limit**4,
        coherent_fourth=_coherent_fourth(winsorised_MN, energy_MN, generator) * limit**4,
        permuted_ratio=top.sigma / sigma_max(_permuted(unit_MN, generator), generator) if permute else None,
    )


def _zero_matrix(rows: int, columns: int) -> MatrixNumbers:
    numbers = {field.name: 0.0 for field in fields(MatrixNumbers) if field.type is float}
    return MatrixNumbers(
        **numbers,
        nuclear=0.0,
        max_position=0,
        row_energy=np.zeros(rows),
        column_energy=np.zeros(columns),
        permuted_ratio=None,
    )


def matrix_sample(rows: int, columns: int, numbers: list[MatrixNumbers]) -> MatrixSample:
    """Stack the numbers of consecutive pairs."""
    series = {
        field.name: np.array([getattr(x, field.name) for x in numbers])
        for field in fields(MatrixNumbers)
        if field.name not in ("nuclear", "permuted_ratio")
    }
    nuclear = [x.nuclear for x in numbers if x.nuclear is not None]
    return MatrixSample(
        rows=rows,
        columns=columns,
        nuclear=np.array(nuclear) if len(nuclear) == len(numbers) else None,
        permuted_ratio=np.array([x.permuted_ratio for x in numbers if x.permuted_ratio is not None]),
        **series,
    )


def _largest_entry(noise_MN: Tensor) -> tuple[int, float]:
    """Find the position and size of the largest entry, by rows: a flat search is several times slower."""
    by_row_M = torch.maximum(noise_MN.amax(1), -noise_MN.amin(1))
    row = int(by_row_M.argmax())
    column = int(noise_MN[row].abs().argmax())
    return row * noise_MN.shape[1] + column, float(by_row_M[row])


def _sum_squares(tensor: Tensor) -> float:
    """Σx² by ``sum``, which adds in pairs; a vector norm adds in order and is off by 1e-4 at a million entries."""
    return float(tensor.square().sum())


def _permuted(noise_MN: Tensor, generator: torch.Generator) -> Tensor:
    """Put entries into random order; where there are many, in two rounds of random order of 16 at a time.

    In between the sixteen are spread over the whole, so that no two entries stay neighbours but by chance. A plain
    permutation of a large matrix would take longer than everything else.
    """

    def mixed(lines: Tensor) -> Tensor:
        return lines.index_select(0, _random_order(len(lines), lines.device, generator))

    flat = noise_MN.reshape(-1)
    if flat.numel() < _MANY:
        return mixed(flat).view(noise_MN.shape)
    whole = flat.numel() // _CHUNK * _CHUNK
    chunks = mixed(mixed(flat[:whole].view(-1, _CHUNK)).T.reshape(-1, _CHUNK))
    return torch.cat([chunks.reshape(-1), flat[whole:]]).view(noise_MN.shape)


def _random_order(count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Shuffle numbers where they are needed, millions of them: a GPU does so from a seed of its own."""
    if device.type == "cpu":
        return torch.randperm(count, generator=generator)
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return torch.randperm(count, generator=torch.Generator(device).manual_seed(seed), device=device)


def _coherent_fourth(winsorised_MN: Tensor, energy_MN: Tensor, generator: torch.Generator) -> float:
    """Sum over 4-cycles by the Gram matrix of the shorter side; of 64 of its lines where that is long."""
    if winsorised_MN.shape[0] > winsorised_MN.shape[1]:
        return _coherent_fourth(winsorised_MN.T, energy_MN.T, generator)
    lines = winsorised_MN.shape[0]
    chosen_ML, energy_ML = winsorised_MN, energy_MN
    if lines > EXACT_SIDE:
        chosen = torch.randperm(lines, generator=generator)[:_SAMPLED_LINES].to(winsorised_MN.device)
        chosen_ML, energy_ML = winsorised_MN[chosen], energy_MN[chosen]
    seen = _sum_squares(chosen_ML @ winsorised_MN.T) - _sum_squares(energy_ML.sum(1))
    # What the same entries with random signs would give.
    by_chance = float(energy_ML.sum(0) @ energy_MN.sum(0)) - _sum_squares(energy_ML)
    return (seen - by_chance) * lines / len(chosen_ML)
