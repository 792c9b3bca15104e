"""How unevenly noise falls on the lines (rows, or columns) of a matrix, and which lines are the loudest."""

import numpy as np
from jaxtyping import Bool, Float

_NAMED = 5
_LONGEST_LABEL = 20
_SAME = 1e-6
_ONE_DIRECTION = 14.0
"""Variance, times m, of a sample variance of m squared Gaussians over their own: 2 + kurtosis 12."""


def dispersion(
    energy: Float[np.ndarray, "pairs lines"], fourth: Float[np.ndarray, " pairs"], length: int
) -> Float[np.ndarray, " uneven"]:
    r"""Compare how unevenly energy falls on lines (rows or columns) with what independent entries do.

    $$\frac{\mathrm{Var}_i\,R_i}{n\,\mathrm{Var}_{ij}\,W_{ij}^2},\qquad R_i = \sum_{j \le n} W_{ij}^2$$

    with unbiased variances over the m lines and over the mn entries. Whatever law the entries have, this has
    mean 1, for every m and n, when all orders of the entries are equally likely. Two rows in 48 × 40 three
    times as loud as the rest make it 4.3 for Gaussian entries, 3.1 for t(3) and 2.0 for Cauchy.

    Args:
        energy: $R_i$.
        fourth: $\sum W^4$.
        length: n, entries in a line.

    Returns:
        The ratio of each pair, without the pairs whose entries are all equal in size; none where it is fixed
        in advance (one line, or one entry in each).
    """
    uneven = _uneven(energy, fourth, length)
    return _variation(energy[uneven]) / _by_independence(energy[uneven], fourth[uneven], length)


def line_localization(
    energy: Float[np.ndarray, "pairs lines"],
    fourth: Float[np.ndarray, " pairs"],
    coherent: Float[np.ndarray, " pairs"],
    length: int,
) -> tuple[Float[np.ndarray, " uneven"], Float[np.ndarray, " uneven"]]:
    r"""Compare how unevenly energy falls on lines with what independent entries *and* low rank do.

    Noise of low rank is uneven by itself: with left singular vectors in no particular direction (Haar),
    $R_i = \sum_k \sigma_k^2 u_{ki}^2$ has relative variance $2 \sum_k \sigma_k^4 / (\sum_k \sigma_k^2)^2$. With
    $X$ the part of $\sum_k \sigma_k^4$ which independent entries cannot make, see
    :func:`gnoise.stats.noise_matrix.coherent_fourth`, and $T = \sum_i R_i$ this is

    $$\frac{\mathrm{Var}_i\,R_i / \bar R^2}{\mathrm{Var}_{ij}\,W_{ij}^2 / (n \bar W^4) + 2 \max(X, 0) / T^2},$$

    1 for both kinds of noise. It is above only where rows are loud of themselves.

    Args:
        energy: $R_i$.
        fourth: $\sum W^4$.
        coherent: $X$.
        length: n, entries in a line.

    Returns:
        The ratio of each uneven pair, as in :func:`dispersion`, and its variance where there are no loud lines: that
        of a variance of m values, with kurtosis for rare entries and, at worst, for a single direction.
    """
    uneven = _uneven(energy, fourth, length)
    energy, fourth, coherent = energy[uneven], fourth[uneven], coherent[uneven]
    independent = _by_independence(energy, fourth, length)
    low_rank = 2.0 * np.maximum(coherent, 0.0) / np.square(energy.sum(1))
    expected = independent + low_rank
    share = low_rank / expected
    rare = _unevenness(energy, fourth, length) / length
    variance = (np.square(1.0 - share) * (2.0 + rare) + np.square(share) * _ONE_DIRECTION) / max(energy.shape[1] - 1, 1)
    return _variation(energy) / expected, variance


def loudest(word: str, energy: Float[np.ndarray, "pairs lines"], labels: tuple[str, ...]) -> str:
    """Name the lines with the largest mean share of energy, largest first.

    Args:
        word: ``rows`` or ``columns``.
        energy: of pairs that are not zero.
        labels: the token behind each line; empty where lines have none.
    """
    shares = (energy / energy.sum(1, keepdims=True)).mean(0)
    named = [
        f"{named_line(int(line), labels)} {shares[line]:.1%}" for line in np.argsort(-shares, kind="stable")[:_NAMED]
    ]
    return f"{word} " + ", ".join(named)


def named_line(line: int, labels: tuple[str, ...]) -> str:
    """Write a line's number, and its token where it has one."""
    return f"{line} {labels[line][:_LONGEST_LABEL]!r}" if line < len(labels) else str(line)


def _uneven(
    energy: Float[np.ndarray, "pairs lines"], fourth: Float[np.ndarray, " pairs"], length: int
) -> Bool[np.ndarray, " pairs"]:
    """Choose the pairs whose unevenness is not fixed in advance."""
    if energy.shape[1] == 1 or length == 1:
        return np.zeros(fourth.size, dtype=np.bool_)
    return _unevenness(energy, fourth, length) > _SAME


def _unevenness(
    energy: Float[np.ndarray, "pairs lines"], fourth: Float[np.ndarray, " pairs"], length: int
) -> Float[np.ndarray, " pairs"]:
    """Relative variance of the entries' squares."""
    return fourth / np.square(energy.sum(1, dtype=np.float64)) * energy.shape[1] * length - 1.0


def _variation(energy: Float[np.ndarray, "pairs lines"]) -> Float[np.ndarray, " pairs"]:
    """Relative variance of the lines' energies."""
    relative = energy / energy.mean(1, keepdims=True)
    return np.square(relative - 1.0).sum(1) / max(energy.shape[1] - 1, 1)


def _by_independence(
    energy: Float[np.ndarray, "pairs lines"], fourth: Float[np.ndarray, " pairs"], length: int
) -> Float[np.ndarray, " pairs"]:
    """Relative variance of the lines' energies when all orders of the entries are equally likely."""
    lines = energy.shape[1]
    return lines * _unevenness(energy, fourth, length) / max(lines * length - 1, 1)
