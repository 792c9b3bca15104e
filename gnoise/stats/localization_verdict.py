"""Where a layer's noise sits: in rows, in columns, in a few directions, in single entries, or everywhere.

The typical pair of draws (the median over pairs) is held against what chance does to a *single* pair. With pairs that
share nothing this is far stricter than the level says; with pairs that share everything, such as entries' scales that
are the same in every draw, it is the level. Either way what it finds can be seen in one noise matrix.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gnoise.records import MatrixSample, Status, Verdict
from gnoise.stats.lines import line_localization, loudest, named_line
from gnoise.stats.localization_nulls import edge_p_value, haar_ipr_p_value, max_entry_p_value, unevenness_p_value
from gnoise.stats.spectrum import spectral_edge

QUESTION = "localization"
LEVEL = 0.05
COHERENT = 1.1
"""A direction is more than chance when σ₁ is this many times σ₁ of the same entries in random order."""
INCOHERENT = 1.25
"""Single entries make σ₁ when random order leaves σ₁ at no less than 1/this."""
LARGEST = 0.5
"""Single entries make σ₁ when the largest is this much of it."""
_TESTS = 4
_NAMED = 3


@dataclass(frozen=True)
class TypicalPair:
    """Medians over pairs, and the probability of each under its null.

    Attributes:
        row_localization: unevenness of rows beyond independent entries and low rank; 1 is none.
        column_localization: likewise.
        spectral_edge_ratio: σ₁ over the edge of the bulk; infinite for noise of low rank.
        permuted_ratio: σ₁ over σ₁ of the same entries in random order.
        max_entry_ratio: largest entry over σ₁.
        ipr_left: inverse participation ratio of u₁.
        ipr_right: of v₁.
        rows: rows that are not zero throughout.
        columns: likewise.
        p_values: of rows, columns, edge, max_entry, ipr_left and ipr_right.
    """

    row_localization: float
    column_localization: float
    spectral_edge_ratio: float
    permuted_ratio: float
    max_entry_ratio: float
    ipr_left: float
    ipr_right: float
    rows: int
    columns: int
    p_values: dict[str, float]

    @property
    def spread_out(self) -> tuple[bool, bool]:
        """Whether u₁ and v₁ are nearer to random vectors (3/m) than to a single coordinate (1), by logarithm."""
        return self.ipr_left < _halfway(self.rows), self.ipr_right < _halfway(self.columns)


def judge(name: str | None, sample: MatrixSample, row_labels: tuple[str, ...] = ()) -> Verdict:
    """Answer where the noise of two or more rows and columns sits, in the order the question gives.

    Args:
        name: of the layer.
        sample: pairs which are finite and not zero.
        row_labels: the token behind each row.
    """
    if min(sample.rows, sample.columns) == 1:
        return no_verdict(name, Status.ONE_LINE, sample.spectral.size)
    if sample.bulk_scale is None or sample.coherent_fourth is None or sample.permuted_ratio is None:
        return no_verdict(name, Status.NOT_COLLECTED, sample.spectral.size)
    if _constant(sample):
        return no_verdict(name, Status.CONSTANT, sample.spectral.size)
    typical = typical_pair(sample)
    if max(typical.rows, typical.columns) == 1:
        return no_verdict(name, Status.ONE_LINE, sample.spectral.size)
    found = p_values(typical)
    order = sorted(("rows", "columns"), key=lambda line: -getattr(typical, f"{line.removesuffix('s')}_localization"))
    order += ["low_rank", "entries"]
    passing = [answer for answer in order if found[answer] < LEVEL / _TESTS]
    nearest = min(order, key=lambda answer: found[answer])
    answer = passing[0] if passing else "bulk"
    runner_up = (*passing[1:], "bulk")[0] if passing else nearest
    decisive = found[answer] if passing else found[nearest]
    return Verdict(
        layer=name,
        question=QUESTION,
        answer=answer,
        runner_up=runner_up,
        margin=abs(float(np.log10(LEVEL / _TESTS / decisive))),
        p_value=min(1.0, _TESTS * min(found.values())),
        n=sample.spectral.size,
        status=Status.OK,
        note=_note(answer, typical, sample, row_labels),
    )


def no_verdict(name: str | None, status: Status, n: int = 0) -> Verdict:
    """Say why there is no answer."""
    return Verdict(name, QUESTION, None, "", None, None, n, status)


def typical_pair(sample: MatrixSample) -> TypicalPair:
    """Take medians over pairs and hold them against a single pair's nulls.

    Args:
        sample: as in :func:`judge`, with everything collected.
    """
    bulk, coherent, permuted = sample.bulk_scale, sample.coherent_fourth, sample.permuted_ratio
    if bulk is None or coherent is None or permuted is None:
        raise ValueError("expected a sample with bulk scale, coherence and permutations")
    rows = int(np.median(np.count_nonzero(sample.row_energy, axis=1)))
    columns = int(np.median(np.count_nonzero(sample.column_energy, axis=1)))
    uneven = [
        line_localization(energy, sample.winsorised_fourth, coherent, length)
        for energy, length in ((sample.row_energy, sample.columns), (sample.column_energy, sample.rows))
    ]
    (row, row_p), (column, column_p) = (_typical_unevenness(*each) for each in uneven)
    edge = float(np.median(edge_ratios(sample)))
    largest = float(np.median(sample.max_entry / sample.spectral))
    left, right = float(np.median(sample.ipr_left)), float(np.median(sample.ipr_right))
    sides = max(rows, 2), max(columns, 2)
    return TypicalPair(
        row_localization=row,
        column_localization=column,
        spectral_edge_ratio=edge,
        permuted_ratio=float(np.median(permuted)) if permuted.size else 1.0,
        max_entry_ratio=largest,
        ipr_left=left,
        ipr_right=right,
        rows=rows,
        columns=columns,
        p_values={
            "rows": row_p,
            "columns": column_p,
            "edge": edge_p_value(edge, *sides),
            "max_entry": max_entry_p_value(largest, *sides),
            "ipr_left": haar_ipr_p_value(left, sides[0]),
            "ipr_right": haar_ipr_p_value(right, sides[1]),
        },
    )


def edge_ratios(sample: MatrixSample) -> Float[np.ndarray, " pairs"]:
    """Divide each pair's σ₁ by the edge of its bulk; infinite where it has none.

    Args:
        sample: with a bulk scale; lines that are zero throughout do not count as lines.
    """
    if sample.bulk_scale is None:
        raise ValueError("expected a sample with a bulk scale")
    rows, columns = (np.count_nonzero(energy, axis=1) for energy in (sample.row_energy, sample.column_energy))
    edges = sample.bulk_scale * np.array([spectral_edge(int(m), int(n)) for m, n in zip(rows, columns, strict=True)])
    return np.divide(sample.spectral, edges, out=np.full(edges.size, np.inf), where=edges > 0.0)


def p_values(typical: TypicalPair) -> dict[str, float]:
    """Give each answer other than ``bulk`` its p-value: 1 where it is not what the answer means, however sure.

    ``entries`` asks three things at once and takes the largest p-value of the three.
    """
    tests = typical.p_values
    left, right = typical.spread_out
    low_rank = left and right and typical.permuted_ratio >= COHERENT
    entries = not left and not right and typical.max_entry_ratio > LARGEST and typical.permuted_ratio <= INCOHERENT
    return {
        "rows": tests["rows"],
        "columns": tests["columns"],
        "low_rank": tests["edge"] if low_rank else 1.0,
        "entries": max(tests["max_entry"], tests["ipr_left"], tests["ipr_right"]) if entries else 1.0,
    }


def _typical_unevenness(
    ratios: Float[np.ndarray, " uneven"], variances: Float[np.ndarray, " uneven"]
) -> tuple[float, float]:
    """Take the median ratio and its p-value; what cannot be uneven is even."""
    if ratios.size == 0:
        return 1.0, 1.0
    ratio = float(np.median(ratios))
    return ratio, unevenness_p_value(ratio, float(np.median(variances)))


def _halfway(side: int) -> float:
    return float(np.sqrt(3.0 / (side + 2.0)))


def _constant(sample: MatrixSample) -> bool:
    """Whether all entries are equal: of one size, and of rank one."""
    one_size = np.square(sample.max_entry) * sample.rows * sample.columns
    return bool(np.allclose(one_size / sample.frobenius_sq, 1.0) and np.allclose(one_size, np.square(sample.spectral)))


def _note(answer: str, typical: TypicalPair, sample: MatrixSample, row_labels: tuple[str, ...]) -> str:
    if answer in ("rows", "columns"):
        energy, labels, times = {
            "rows": (sample.row_energy, row_labels, typical.row_localization),
            "columns": (sample.column_energy, (), typical.column_localization),
        }[answer]
        return f"{loudest(answer, energy, labels)}; {times:.1f} times as uneven as chance"
    if answer == "low_rank":
        beyond = typical.spectral_edge_ratio
        times = f"{beyond:.1f} times the edge of the bulk" if np.isfinite(beyond) else "all there is, without a bulk,"
        return f"σ₁ is {times} and {typical.permuted_ratio:.1f} times that of the same entries in random order"
    if answer == "entries":
        return f"the largest entry is {typical.max_entry_ratio:.0%} of σ₁: {_entries(sample, row_labels)}"
    return ""


def _entries(sample: MatrixSample, row_labels: tuple[str, ...]) -> str:
    """Name the entries that are most often the largest."""
    if sample.max_position is None:
        return "not named"
    pairs = sample.max_position.size
    places = Counter(divmod(int(position), sample.columns) for position in sample.max_position)
    if pairs > 1 and max(places.values()) == 1:
        return "another one in every pair"
    named = [
        f"row {named_line(row, row_labels)} column {column} in {times} of {pairs}"
        for (row, column), times in places.most_common(_NAMED)
    ]
    return ", ".join(named)
