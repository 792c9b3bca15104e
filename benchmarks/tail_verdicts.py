"""Which law is named when noise of a known law is planted: the confusion table of both tail questions.

No torch and no network: noise of pairs of draws comes from a law, becomes sketches as in a run (each entry divided by
the geometric mean of its own values in the first half, for the view across draws), and is judged.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from report import Cell, publish

from gnoise.records import SketchSample, Verdict
from gnoise.stats import Subject, sketch_from_values, stable_rvs
from gnoise.stats.tail_laws import judge_tails

BLOCKS = 8
DRAWS = (64, 128)
SIZES = (10_000, 100_000)
ANY = "any"

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Planted:
    """Noise of one tensor.

    Attributes:
        name: for the table.
        draw: pairs × entries.
        entries: right answers of the pooled view.
        draws: right answers of the view across draws; the same where left out.
    """

    name: str
    draw: Draw
    entries: tuple[str, ...]
    draws: tuple[str, ...] = ()


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    start = time.process_time()
    rows = [row for draws in DRAWS for n in options.sizes for law in PLANTED for row in _rows(law, draws, n, options)]
    publish(
        "tail_verdicts",
        notes=[
            "Noise of pairs in 8 blocks; n values in the view across draws, twice as many pooled. right: share of runs",
            "whose answer is the planted law (a Gaussian mixture of scales has no right answer when pooled).",
            f"{options.runs} runs a row: a share of .95 has a standard error of "
            f"{np.sqrt(0.95 * 0.05 / options.runs):.3f}.",
            "margin: median of the answer's lead over the runner-up, in standard errors from blocks.",
            "not Gaussian: share of runs with p < 0.05 for the Gaussian.",
        ],
        settings={"runs": options.runs, "seed": options.seed, "CPU seconds": round(time.process_time() - start)},
        columns=("draws", "n", "planted", "view", "right", "answers", "margin", "not Gaussian"),
        rows=rows,
        save=not options.quick,
    )


def _two_widths(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.03, 5.0, 1.0)


def _rare_cauchy(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape) + (rng.random(shape) < 0.03) * rng.standard_cauchy(shape)


def _power(power: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.gamma(1.0 / power, 1.0, shape) ** (1.0 / power) * rng.choice([-1.0, 1.0], shape)

    return draw


def _shared(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Gaussian noise, a tenth of whose energy moves all entries of a draw together."""
    direction = rng.standard_normal(shape[1])
    return rng.standard_normal(shape) + np.sqrt(0.1) * rng.standard_normal((shape[0], 1)) * direction


def _stable(alpha: float) -> Planted:
    return Planted(f"stable {alpha:g}", lambda rng, shape: stable_rvs(alpha, 0.0, shape, rng), ("stable",))


def _student(nu: float) -> Planted:
    return Planted(f"Student t({nu:g})", lambda rng, shape: rng.standard_t(nu, shape), ("student_t",))


GAUSSIAN = ("gaussian",)
PLANTED: tuple[Planted, ...] = (
    Planted("Gaussian", lambda rng, shape: rng.standard_normal(shape), GAUSSIAN),
    Planted(
        "Gaussian, lognormal scales",
        lambda rng, shape: rng.standard_normal(shape) * np.exp(rng.standard_normal(shape[1])),
        (ANY,),
        GAUSSIAN,
    ),
    Planted("Gaussian, shared direction", _shared, (ANY,), GAUSSIAN),
    Planted("Cauchy", lambda rng, shape: rng.standard_cauchy(shape), ("cauchy",)),
    Planted("Laplace", lambda rng, shape: rng.laplace(size=shape), ("laplace",)),
    _student(3.0),
    _student(6.0),
    Planted("generalised Gaussian 0.7", _power(0.7), ("generalised_gaussian",)),
    Planted("generalised Gaussian 1.4", _power(1.4), ("generalised_gaussian",)),
    Planted(
        "Voigt, 0.1 Cauchy",
        lambda rng, shape: rng.standard_normal(shape) + 0.1 * rng.standard_cauchy(shape),
        ("voigt",),
    ),
    Planted("3% five times as wide", _two_widths, ("contaminated",)),
    Planted("3% plus Cauchy", _rare_cauchy, ("contaminated", "voigt")),
    _stable(1.3),
    _stable(1.7),
    _stable(1.9),
)


def _rows(planted: Planted, draws: int, n: int, options: argparse.Namespace) -> Iterator[tuple[Cell, ...]]:
    """Judge one law's runs; one row a view."""
    shape = (draws // 2, -(-n // (draws // 4)))
    runs = [_judge(planted.draw(np.random.default_rng([options.seed, run]), shape)) for run in range(options.runs)]
    for place, (view, right) in enumerate((("entries", planted.entries), ("draws", planted.draws or planted.entries))):
        verdicts = [run[place] for run in runs]
        answers = Counter(str(verdict.answer) for verdict in verdicts)
        yield (
            draws,
            n,
            planted.name,
            view,
            None if right == (ANY,) else sum(answers[law] for law in right) / options.runs,
            ", ".join(f"{law} {count}" for law, count in answers.most_common()),
            float(np.median([verdict.margin or 0.0 for verdict in verdicts])),
            float(np.mean([(verdict.p_value or 0.0) < 0.05 for verdict in verdicts])),
        )


def _judge(noise: np.ndarray) -> list[Verdict]:
    """Sample one tensor's noise as a run does, and ask both questions."""
    learnt = len(noise) // 2
    scale = np.exp(np.log(np.abs(noise[:learnt])).mean(0))
    sample = SketchSample(
        entries=tuple(sketch_from_values(part) for part in np.split(noise, BLOCKS)),
        draws=tuple(sketch_from_values(part / scale) for part in np.split(noise[learnt:], BLOCKS // 2)),
        scale_pairs=learnt,
    )
    return [finding for finding in judge_tails(Subject(layer=None), sample) if isinstance(finding, Verdict)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="repetitions of each law (100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="4 repetitions at the smaller size, nothing written")
    options = parser.parse_args()
    options.sizes = SIZES
    if options.quick:
        options.runs, options.sizes = 4, SIZES[:1]
    return options


if __name__ == "__main__":
    main()
