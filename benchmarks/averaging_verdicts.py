"""Which verdict on averaging each law gets, seed by seed.

No torch and no network. What is right: a stable law is ``stable``, with its index within 0.1; a law with a variance and
tails heavier than Gaussian is ``thinning``, however slowly it thins out; Gaussian noise is ``gaussian`` whatever the
scales of its entries; and where a few entries are Cauchy, ``rare_values`` take over.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from report import Cell, publish

from gnoise.records import CoordinateSample, Estimate, Verdict
from gnoise.stats import Subject, stable_rvs
from gnoise.stats.averaging import estimate_averaging

COORDINATES = 1024
GROUP = 8
ANSWERS = ("gaussian", "thinning", "stable", "rare_values", None)
INDEX_ERROR = 0.1

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Law:
    """Noise of one tensor.

    Attributes:
        name: for the table.
        draw: draws × coordinates.
        answer: the right verdict.
        alpha: the index of a stable law.
    """

    name: str
    draw: Draw
    answer: str
    alpha: float | None = None


def _lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Exactly Gaussian noise; only its scale differs from entry to entry."""
    return rng.normal(size=shape) * np.exp(2.0 * rng.normal(size=shape[1]))


def _rare(share: float) -> Law:
    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(size=shape) + (rng.random(shape) < share) * rng.standard_cauchy(shape)

    return Law(f"Gaussian, {share:.0%} of entries Cauchy", draw, "rare_values")


def _student(freedom: float) -> Law:
    return Law(f"Student t({freedom:g})", lambda rng, shape: rng.standard_t(freedom, shape), "thinning")


def _stable(alpha: float) -> Law:
    name = "Cauchy" if alpha == 1.0 else f"stable {alpha:g}"
    return Law(name, lambda rng, shape: stable_rvs(alpha, 0.0, shape, rng), "stable", alpha)


LAWS = (
    Law("Gaussian", lambda rng, shape: rng.normal(size=shape), "gaussian"),
    Law("Gaussian, lognormal scales, log-sd 2", _lognormal, "gaussian"),
    _student(5.0),
    _student(3.0),
    _student(2.2),
    Law("Laplace", lambda rng, shape: rng.laplace(size=shape), "thinning"),
    _stable(1.95),
    _stable(1.7),
    _stable(1.3),
    _stable(1.0),
    _rare(0.01),
    _rare(0.03),
    _rare(0.10),
)


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    start = time.process_time()
    rows = [
        _row(law, draws, group, [_judge(law, draws, group, (options.seed, seed)) for seed in range(options.runs)])
        for draws in options.draws
        for group in (1, GROUP)
        for law in LAWS
    ]
    publish(
        "averaging_verdicts",
        notes=[
            f"{COORDINATES:,} coordinates, {options.runs} seeds a row. right: share with the law's own verdict,",
            f"for stable laws with alpha_averaging within {INDEX_ERROR} of the truth; then the share of each answer,",
            "none where draws are too few for one. alike: coordinates move together in groups of so many, each at",
            "its own scale.",
        ],
        settings={"seeds": options.runs, "seed": options.seed, "CPU seconds": round(time.process_time() - start)},
        columns=("law", "draws", "alike", "right", "gaussian", "thinning", "stable", "rare", "none", "slope", "α"),
        rows=rows,
        save=not options.quick,
    )


def _judge(law: Law, draws: int, group: int, seed: tuple[int, int]) -> tuple[Estimate, Estimate, Verdict]:
    """Give one seed's slope, index and verdict."""
    rng = np.random.default_rng([*seed, draws, group, LAWS.index(law)])
    values = law.draw(rng, (draws, COORDINATES // group))
    if group > 1:
        values = np.repeat(values, group, axis=1) * np.exp(rng.normal(size=COORDINATES))
    sq_norms = np.square(values).sum(axis=1)
    sample = CoordinateSample(np.arange(COORDINATES), values.astype(np.float32), sq_norms, sq_norms)
    findings = estimate_averaging(Subject(layer=None), sample)
    slope, alpha = (finding for finding in findings if isinstance(finding, Estimate))
    (verdict,) = (finding for finding in findings if isinstance(finding, Verdict))
    return slope, alpha, verdict


def _row(law: Law, draws: int, group: int, found: Sequence[tuple[Estimate, Estimate, Verdict]]) -> Sequence[Cell]:
    """Count how one law's seeds came out."""
    answers = [verdict.answer for _, _, verdict in found]
    indices = [alpha.value for _, alpha, _ in found if alpha.value is not None]
    right = [_is_right(law, alpha, verdict) for _, alpha, verdict in found]
    return (
        law.name,
        draws,
        group,
        float(np.mean(right)),
        *(answers.count(answer) / len(found) for answer in ANSWERS),
        float(np.mean([slope.value for slope, _, _ in found if slope.value is not None])),
        float(np.mean(indices)) if len(indices) > len(found) / 2 else None,
    )


def _is_right(law: Law, alpha: Estimate, verdict: Verdict) -> bool:
    close = law.alpha is None or (alpha.value is not None and abs(alpha.value - law.alpha) <= INDEX_ERROR)
    return verdict.answer == law.answer and close


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="seeds of each law (200)")
    parser.add_argument("--draws", type=int, nargs="+", default=[64, 128], help="numbers of draws (64 128)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="4 seeds, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 4
    return options


if __name__ == "__main__":
    main()
