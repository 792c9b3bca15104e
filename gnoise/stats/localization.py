"""Localization: does a layer's noise sit in single entries, in a few rows or columns, or everywhere?

A single entry far above the rest is its own singular value, with both singular vectors on one
coordinate. A few loud rows (rare tokens of an embedding) show in how unevenly energy falls on rows, once the
loudest entries are winsorised: without that any heavy tail passes for loud rows.

Every quantity is a mean over pairs of draws, which are independent, with a t interval corrected for
skewness. The mean serves for the largest entry too: its ratio to σ₁ cannot pass 1, so no pair can carry the
mean away.
"""

from dataclasses import fields, replace

import numpy as np
from jaxtyping import Float

from gnoise.records import Estimate, Finding, MatrixSample, Status
from gnoise.stats.fieller import skewed_mean_interval
from gnoise.stats.intervals import clip_interval, estimate_of, no_estimate
from gnoise.stats.lines import dispersion, line_localization, loudest
from gnoise.stats.localization_verdict import QUESTION, edge_ratios, judge, no_verdict
from gnoise.stats.statistic import Statistic, Subject

_READ = (
    "spectral", "max_entry", "ipr_left", "ipr_right", "row_energy", "column_energy", "winsorised_fourth",
    "bulk_scale", "coherent_fourth",
)  # fmt: skip


def estimate_localization(subject: Subject, sample: MatrixSample) -> list[Finding]:
    """Estimate how localized noise is in entries, singular vectors, rows and columns, and say where it sits.

    Pairs whose noise is exactly zero are left out; ``n`` counts the others. What a side of length 1 fixes in
    advance is ``CONSTANT``. The notes name the rows and columns with the largest share of winsorised energy.

    Args:
        subject: the layer, with the token behind each row where it has tokens.
        sample: norms, singular vectors and energies of each pair's noise.
    """
    name, rows, columns = subject.name, sample.rows, sample.columns
    sample, status = loud_pairs(sample)
    pairs = sample.spectral.size
    if status is not Status.OK:
        return [*_nothing(name, status, pairs), no_verdict(name, status, pairs)]
    verdict = judge(name, sample, subject.row_labels)
    if pairs < 2:
        return [*_nothing(name, Status.TOO_FEW_DRAWS, pairs), verdict]
    row_note = loudest("rows", sample.row_energy, subject.row_labels)
    column_note = loudest("columns", sample.column_energy, ())
    row_dispersion = dispersion(sample.row_energy, sample.winsorised_fourth, columns)
    column_dispersion = dispersion(sample.column_energy, sample.winsorised_fourth, rows)
    return [
        _mean(name, "max_entry_ratio", sample.max_entry / sample.spectral, (rows * columns) ** -0.5, 1.0),
        _mean(name, "ipr_left", sample.ipr_left, 1.0 / rows, 1.0, fixed=rows == 1),
        _mean(name, "ipr_right", sample.ipr_right, 1.0 / columns, 1.0, fixed=columns == 1),
        _mean(name, "row_dispersion", row_dispersion, note=row_note),
        _mean(name, "column_dispersion", column_dispersion, note=column_note),
        _line_localization(name, "row_localization", sample),
        _line_localization(name, "column_localization", sample),
        _edge_ratio(name, sample),
        _permuted_ratio(name, sample),
        verdict,
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


def _nothing(name: str | None, status: Status, pairs: int) -> list[Estimate]:
    return [no_estimate(name, quantity, status, pairs) for quantity in STATISTIC.quantities]


def loud_pairs(sample: MatrixSample) -> tuple[MatrixSample, Status]:
    """Keep the pairs whose noise is not exactly zero, and say whether anything can be read from them.

    Args:
        sample: as collected; permutations are of pairs that are not zero as it is.
    """
    per_pair = {
        field.name: value
        for field in fields(sample)
        if field.name != "permuted_ratio" and isinstance(value := getattr(sample, field.name), np.ndarray)
    }
    loud = (sample.spectral > 0.0) & (sample.row_energy.sum(1) > 0.0)
    chosen = replace(sample, **{name: value[loud] for name, value in per_pair.items()})
    if loud.size == 0:
        return chosen, Status.TOO_FEW_DRAWS
    if not all(np.isfinite(per_pair[name]).all() for name in _READ if name in per_pair):
        return chosen, Status.NON_FINITE
    return chosen, Status.OK if np.any(loud) else Status.ALL_ZERO


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


def _edge_ratio(name: str | None, sample: MatrixSample) -> Estimate:
    if sample.bulk_scale is None:
        return no_estimate(name, "spectral_edge_ratio", Status.NOT_COLLECTED, sample.spectral.size)
    ratios = edge_ratios(sample)
    if not np.isfinite(ratios).all():
        return no_estimate(name, "spectral_edge_ratio", Status.NO_BULK, ratios.size)
    return _mean(name, "spectral_edge_ratio", ratios, fixed=min(sample.rows, sample.columns) == 1)


def _permuted_ratio(name: str | None, sample: MatrixSample) -> Estimate:
    ratios = sample.permuted_ratio
    if ratios is None:
        return no_estimate(name, "permuted_ratio", Status.NOT_COLLECTED)
    if ratios.size < 2:
        return no_estimate(name, "permuted_ratio", Status.TOO_FEW_DRAWS, ratios.size)
    return _mean(name, "permuted_ratio", ratios, fixed=min(sample.rows, sample.columns) == 1)


def _line_localization(name: str | None, quantity: str, sample: MatrixSample) -> Estimate:
    if sample.coherent_fourth is None:
        return no_estimate(name, quantity, Status.NOT_COLLECTED, sample.spectral.size)
    energy, length = {
        "row_localization": (sample.row_energy, sample.columns),
        "column_localization": (sample.column_energy, sample.rows),
    }[quantity]
    ratios, _ = line_localization(energy, sample.winsorised_fourth, sample.coherent_fourth, length)
    return _mean(name, quantity, ratios)


STATISTIC = Statistic(
    name="localization",
    needs=MatrixSample,
    quantities=(
        "max_entry_ratio",
        "ipr_left",
        "ipr_right",
        "row_dispersion",
        "column_dispersion",
        "row_localization",
        "column_localization",
        "spectral_edge_ratio",
        "permuted_ratio",
    ),
    estimate=estimate_localization,
    questions=(QUESTION,),
)
