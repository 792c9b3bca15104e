"""What naming the law of a layer's noise costs from its sketches: eight laws, both views, blocks compared.

No torch and no network. Processor time, so that a second process on the machine disturbs little; the tables of the laws
are built once per process and counted apart.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from report import publish

from gnoise.records import SketchSample
from gnoise.stats import Subject, sketch_from_values, stable_rvs
from gnoise.stats.tail_laws import judge_tails
from gnoise.stats.tails import estimate_tails

BLOCKS, LAYERS, CORES = 8, 300, 2
SCALE_PAIRS = 16
SUBJECT = Subject(layer=None)

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
NOISE: tuple[tuple[str, Draw], ...] = (
    ("Gaussian", lambda rng, shape: rng.standard_normal(shape)),
    (
        "Gaussian, lognormal scales",
        lambda rng, shape: rng.standard_normal(shape) * np.exp(rng.standard_normal(shape[-1])),
    ),
    ("Student t(3)", lambda rng, shape: rng.standard_t(3.0, shape)),
    ("stable 1.7", lambda rng, shape: stable_rvs(1.7, 0.0, shape, rng)),
    ("Cauchy", lambda rng, shape: rng.standard_cauchy(shape)),
)


def main() -> None:
    """Time the verdicts and write the table."""
    options = _options()
    samples = [(name, _sample(draw, options.entries)) for name, draw in NOISE]
    start = time.process_time()
    judge_tails(SUBJECT, samples[0][1])
    tables = time.process_time() - start
    rows = []
    for name, sample in samples:
        verdicts = _milliseconds(lambda sample=sample: judge_tails(SUBJECT, sample), options.rounds)
        indices = _milliseconds(lambda sample=sample: estimate_tails(SUBJECT, sample), options.rounds)
        run = (LAYERS * (verdicts + indices) / 1000.0 + tables) / CORES
        rows.append((name, verdicts, indices, run))
    publish(
        "tail_speed",
        notes=[
            f"Sketches of {options.entries:,} entries a view in {BLOCKS} blocks; median of {options.rounds} rounds.",
            "verdicts: all laws and both verdicts, ms of processor time a layer; indices: alpha and heterogeneity.",
            f"{LAYERS} layers: seconds on {CORES} cores for both; the first took {tables:.2f} s for its tables.",
        ],
        settings={"entries": options.entries, "rounds": options.rounds},
        columns=("noise", "verdicts", "indices", f"{LAYERS} layers"),
        rows=rows,
        save=not options.quick,
    )


def _sample(draw: Draw, entries: int) -> SketchSample:
    """Sketch one tensor's noise, raw and over measured scales."""
    rng = np.random.default_rng(0)
    shape = (BLOCKS, entries // BLOCKS)
    raw = draw(rng, shape)
    logs = sum(np.log(np.abs(draw(rng, shape[1:]))) for _ in range(SCALE_PAIRS))
    scaled = raw[BLOCKS // 2 :] / np.exp(logs / SCALE_PAIRS)
    return SketchSample(
        entries=tuple(sketch_from_values(block) for block in raw),
        draws=tuple(sketch_from_values(block) for block in scaled),
        scale_pairs=SCALE_PAIRS,
    )


def _milliseconds(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000.0 * float(np.median(times))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="values in the pooled view (1,000,000)")
    parser.add_argument("--rounds", type=int, default=20, help="repetitions (20)")
    parser.add_argument("--quick", action="store_true", help="3 rounds, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 3
    return options


if __name__ == "__main__":
    main()
