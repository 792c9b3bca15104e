"""Localization: does a layer's noise sit in single entries, in a few rows or columns, or everywhere?

A single entry far above the rest is its own singular value, with both singular vectors on one
coordinate. A few loud rows (rare tokens of an embedding) show in how unevenly energy falls on rows, once the
loudest entries are winsorised: without that any heavy tail passes for loud rows.

Every quantity is a mean over pairs of draws, which are independent, with a t interval corrected for
skewness. The mean serves for the largest entry too: its ratio to σ₁ cannot pass 1, so no pair can carry the
mean away.
"""

import numpy as np
from jaxtyping import Bool, Float

from gnoise.records import Estimate, MatrixSample, Status
from gnoise.stats.fieller import skewed_mean_interval
from gnoise.stats.intervals import clip_interval, estimate_of, no_estimate
from gnoise.stats.statistic import Statistic, Subject

_NAMED = 5
_LONGEST_LABEL = 20
_SAME = 1e-6


def estimate_localization(subject: Subject, sample: MatrixSample) -> list[Estimate]:
    """Estimate how localized noise is in entries, singular vectors, rows and columns.

    Pairs whose noise is exactly zero are left out; ``n`` counts the others. What a side of length 1 fixes in
    advance is ``CONSTANT``. The notes name the rows and columns with the largest share of winsorised energy.

    Args:
        subject: the layer, with the token behind each row where it has tokens.
        sample: norms, singular vectors and energies of each pair's noise.
    """
    name, rows, columns = subject.name, sample.rows, sample.columns
    loud = (sample.spectral > 0.0) & (sample.row_energy.sum(1) > 0.0)
    status = _problem(sample, loud)
    if status is not Status.OK:
        pairs = int(np.count_nonzero(loud))
        return [no_estimate(name, quantity, status, pairs) for quantity in STATISTIC.quantities]
    row_energy, column_energy = sample.row_energy[loud], sample.column_energy[loud]
    fourth = sample.winsorised_fourth[loud]
    row_note = _loudest("rows", row_energy, subject.row_labels)
    column_note = _loudest("columns", column_energy, ())
    ratio = sample.max_entry[loud] / sample.spectral[loud]
    left, right = sample.ipr_left[loud], sample.ipr_right[loud]
    return [
        _mean(name, "max_entry_ratio", ratio, (rows * columns) ** -0.5, 1.0),
        _mean(name, "ipr_left", left, 1.0 / rows, 1.0, fixed=rows == 1),
        _mean(name, "ipr_right", right, 1.0 / columns, 1.0, fixed=columns == 1),
        _mean(name, "row_dispersion", dispersion(row_energy, fourth, columns), note=row_note),
        _mean(name, "column_dispersion", dispersion(column_energy, fourth, rows), note=column_note),
    ]


def gaussian_max_entry_ratio(m: int, n: int) -> float:
    r"""Expect the largest entry over the largest singular value of a Gaussian matrix.

    $$\frac{\sqrt{2 \ln mn}}{\sqrt m + \sqrt n}$$

    for independent entries of one variance, as both sides grow. It is 1 when one entry is the whole matrix.

    Args:
        m: rows.
        n: columns.

    References:
        Davidson & Szarek 2001 for σ₁; the maximum of mn Gaussians is classical.
    """
    return float(np.sqrt(2.0 * np.log(m * n)) / (np.sqrt(m) + np.sqrt(n)))


def haar_ipr_mean(m: int) -> float:
    r"""Expect the inverse participation ratio $\sum_i u_i^4$ of a uniformly random unit vector.

    $$\mathbb{E} = \frac{3}{m+2}$$

    Args:
        m: coordinates.
    """
    return 3.0 / (m + 2.0)


def haar_ipr_variance(m: int) -> float:
    r"""Give the variance of the inverse participation ratio of a uniformly random unit vector.

    $$\mathrm{Var} = \frac{24 (m-1)}{(m+2)^2 (m+4)(m+6)}$$

    The law is skewed to the right: read a p-value off simulated vectors, not off a Gaussian.

    Args:
        m: coordinates.
    """
    return 24.0 * (m - 1.0) / ((m + 2.0) ** 2 * (m + 4.0) * (m + 6.0))


def dispersion(
    energy: Float[np.ndarray, "pairs lines"], fourth: Float[np.ndarray, " pairs"], length: int
) -> Float[np.ndarray, " uneven"]:
    r"""Compare how unevenly energy falls on lines (rows or columns) with what chance alone would do.

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
    lines = energy.shape[1]
    if lines == 1 or length == 1:
        return np.empty(0)
    entries = lines * length
    total = energy.sum(1, dtype=np.float64)
    unevenness = fourth / np.square(total) * entries - 1.0
    uneven = unevenness > _SAME
    shares = energy[uneven] / total[uneven, None]
    return shares.var(axis=1, ddof=1) * entries * (entries - 1) / (length * unevenness[uneven])


def _problem(sample: MatrixSample, loud: Bool[np.ndarray, " pairs"]) -> Status:
    if loud.size == 0:
        return Status.TOO_FEW_DRAWS
    arrays = (
        sample.spectral,
        sample.max_entry,
        sample.ipr_left,
        sample.ipr_right,
        sample.row_energy,
        sample.column_energy,
        sample.winsorised_fourth,
    )
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return Status.NON_FINITE
    if not np.any(loud):
        return Status.ALL_ZERO
    return Status.OK if np.count_nonzero(loud) > 1 else Status.TOO_FEW_DRAWS


def _mean(
    name: str | None,
    quantity: str,
    values: Float[np.ndarray, " pairs"],
    lowest: float = 0.0,
    highest: float = np.inf,
    *,
    fixed: bool = False,
    note: str = "",
) -> Estimate:
    if fixed or values.size < 2:
        return no_estimate(name, quantity, Status.CONSTANT, values.size)
    interval = clip_interval(skewed_mean_interval(values.astype(np.float64)), lowest, highest)
    return estimate_of(name, quantity, interval, values.size, note)


def _loudest(word: str, energy: Float[np.ndarray, "pairs lines"], labels: tuple[str, ...]) -> str:
    """Name the lines with the largest mean share of energy, largest first."""
    shares = (energy / energy.sum(1, keepdims=True)).mean(0)
    named: list[str] = []
    for line in np.argsort(-shares, kind="stable")[:_NAMED]:
        token = f" {labels[line][:_LONGEST_LABEL]!r}" if line < len(labels) else ""
        named.append(f"{line}{token} {shares[line]:.1%}")
    return f"{word} " + ", ".join(named)


STATISTIC = Statistic(
    name="localization",
    needs=MatrixSample,
    quantities=("max_entry_ratio", "ipr_left", "ipr_right", "row_dispersion", "column_dispersion"),
    estimate=estimate_localization,
)
