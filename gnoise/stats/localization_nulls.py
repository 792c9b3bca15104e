"""What chance alone does to the localization of one noise matrix: upper-tail probabilities.

Where no closed form is good at small sizes, quantiles were simulated; ``benchmarks/localization_nulls.py`` makes the
table that stands beside this module. Between the sizes of the table quantiles are interpolated in the logarithm of the
side; beyond it the nearest size is taken, in units in which the law hardly changes any more.
"""

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import betaincc, gammaincc, log_ndtr

from gnoise.stats.spectrum import spectral_edge, tracy_widom_units

LEAST = 1e-300
"""The smallest probability reported."""
_TRACY_WIDOM_MEDIAN = -1.2686


class Nulls(NamedTuple):
    """Simulated quantiles.

    Attributes:
        levels: upper-tail probabilities, falling.
        ipr_sides: coordinates of a random unit vector.
        ipr: quantiles of its inverse participation ratio over the mean 3/(m + 2).
        edge_sides: smaller side of a Gaussian matrix.
        edge_aspects: larger side over smaller.
        edge: quantiles of (σ₁²/ŝ² − μ)/σ, ŝ from the median singular value.
    """

    levels: Float[np.ndarray, " levels"]
    ipr_sides: Float[np.ndarray, " sides"]
    ipr: Float[np.ndarray, "sides levels"]
    edge_sides: Float[np.ndarray, " shorts"]
    edge_aspects: Float[np.ndarray, " aspects"]
    edge: Float[np.ndarray, "shorts aspects levels"]


@cache
def nulls() -> Nulls:
    """Read the shipped table."""
    text = files("gnoise.stats").joinpath("localization_nulls.json").read_text(encoding="utf-8")
    table = json.loads(text)
    return Nulls(**{name: np.array(table[name], dtype=np.float64) for name in Nulls._fields})


def haar_ipr_p_value(ipr: float, m: int) -> float:
    r"""Give the probability that a uniformly random unit vector has this inverse participation ratio or more.

    From simulated quantiles; beyond the last of them at most
    $m\,\mathrm{P}(u_1^2 > \mathrm{ipr})$ with $u_1^2 \sim \mathrm{Beta}(\tfrac12, \tfrac{m-1}{2})$, a bound
    because $\sum_i u_i^4 \le \max_i u_i^2$.

    Args:
        ipr: $\sum_i u_i^4$, from 1/m to 1.
        m: coordinates, two or more.
    """
    table = nulls()
    quantiles = _at(np.log(m), np.log(table.ipr_sides), table.ipr) * 3.0 / (m + 2.0)
    bound = m * float(betaincc(0.5, (m - 1) / 2.0, min(ipr, 1.0)))
    return max(min(_tail(ipr, quantiles, table.levels), bound), LEAST)


def edge_p_value(ratio: float, m: int, n: int) -> float:
    r"""Give the probability that σ₁ of a Gaussian matrix reaches this multiple of the edge of its own bulk.

    $$\hat\rho = \frac{\sigma_1}{\hat s\,(\sqrt m + \sqrt n)}$$

    with $\hat s$ from :func:`gnoise.stats.spectrum.bulk_scale`. Simulated quantiles of
    $(\sigma_1^2/\hat s^2 - \mu)/\sigma$ are interpolated in size. Beyond the last the tail is continued as a power of
    $\hat\rho$, which errs to the large side: Tracy–Widom's falls faster.

    Args:
        ratio: $\hat\rho$, infinite for noise of low rank.
        m: rows, two or more.
        n: columns, two or more.
    """
    table = nulls()
    short, long = min(m, n), max(m, n)
    by_aspect = _at(np.log(short), np.log(table.edge_sides), table.edge)
    quantiles = _at(np.log(long / short), np.log(table.edge_aspects), by_aspect)
    centre, scale = tracy_widom_units(m, n)
    ratios = np.sqrt(np.maximum(centre + scale * quantiles, 0.0)) / spectral_edge(m, n)
    if ratio <= ratios[-1]:
        return _tail(ratio, ratios, table.levels)
    if np.isinf(ratio):
        return LEAST
    fall = np.log(table.levels[-2] / table.levels[-1]) / np.log(ratios[-1] / ratios[-2])
    return max(float(table.levels[-1] * np.exp(-fall * np.log(ratio / ratios[-1]))), LEAST)


def max_entry_p_value(ratio: float, m: int, n: int) -> float:
    r"""Give the probability that the largest of Gaussian entries is this share of σ₁ or more.

    $$1 - \left(2\Phi(x) - 1\right)^{mn},\qquad x = \mathrm{ratio}\cdot\sqrt{\mu + t\sigma}$$

    σ₁ is put at its median, with $t = -1.27$ that of the Tracy–Widom law: it varies little beside the largest entry.

    Args:
        ratio: $\max|E| / \lVert E\rVert_2$.
        m: rows.
        n: columns.
    """
    centre, scale = tracy_widom_units(m, n)
    outside = np.log(2.0) + log_ndtr(-ratio * np.sqrt(centre + _TRACY_WIDOM_MEDIAN * scale))
    if outside >= 0.0:
        return 1.0
    return max(float(-np.expm1(m * n * np.log1p(-np.exp(outside)))), LEAST)


def unevenness_p_value(ratio: float, variance: float) -> float:
    r"""Give the probability of a variance ratio with mean 1 and the given variance.

    A gamma law: with variance $2/(m-1)$ that of the sample variance of m Gaussians over their own.

    Args:
        ratio: what was seen.
        variance: of the ratio under the null, positive.
    """
    return max(float(gammaincc(1.0 / variance, max(ratio, 0.0) / variance)), LEAST)


def _at(
    place: float, places: Float[np.ndarray, " places"], table: Float[np.ndarray, "places ..."]
) -> Float[np.ndarray, "..."]:
    """Interpolate a table's first axis linearly; the nearest end beyond it."""
    inside = float(np.clip(place, places[0], places[-1]))
    above = int(np.clip(np.searchsorted(places, inside), 1, places.size - 1))
    weight = (inside - places[above - 1]) / (places[above] - places[above - 1])
    return (1.0 - weight) * table[above - 1] + weight * table[above]


def _tail(value: float, quantiles: Float[np.ndarray, " levels"], levels: Float[np.ndarray, " levels"]) -> float:
    """Interpolate the logarithm of the upper tail; 1 below the lowest quantile, the last level above the highest."""
    if value < quantiles[0]:
        return 1.0
    return float(np.exp(np.interp(value, quantiles, np.log(levels))))
