"""How often the localization verdict is right on noise matrices whose structure is known.

Matrices are reduced as a profile reduces them (``gnoise.collect.matrices``) and judged as a run is. What is right was
fixed before anything was measured:

- Gaussian entries: ``bulk``.
- t(3) and stable 1.7 entries: ``entries``. With a tail index below 4 the largest singular values of independent
  entries are the largest entries themselves (Auffinger, Ben Arous & Péché 2009, arXiv 0710.3132), and ``entries`` says
  that.
- Gaussian entries of which 0.1% have a Cauchy variable added: ``entries``; at 256 × 256 ``bulk`` is as right, because
  the largest of 65 Cauchy variables need not leave the bulk.
- 2% of the rows 3 or 1.3 times as loud: ``rows``.
- Two random directions with singular values 1.5 and 1.25 times the edge of the bulk, new in each pair: ``low_rank``.
- Real noise of the sample checkpoint gpt-docs with its entries in random order, within and among rows, a new order for
  each pair: not ``rows``, ``columns`` or ``low_rank``. ``entries`` is a fair thing to say of a heavy tail.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from report import Cell, publish

from gnoise.cli.settings import resolve
from gnoise.collect import place, trainable_parameters
from gnoise.collect.draws import DrawEngine
from gnoise.collect.load import load_workload
from gnoise.collect.matrices import MatrixNumbers, matrix_numbers, matrix_sample
from gnoise.records import Kind, Layer, Verdict
from gnoise.stats import Subject, stable_rvs
from gnoise.stats.localization import estimate_localization

SHAPES = ((256, 256), (768, 3072))
LOUD_ROWS = 0.02
DIRECTIONS = (1.5, 1.25)
SAMPLE = Path("sample_checkpoints/gpt-docs")
PERMUTED_EVERY = 4
COLUMNS = ("noise", "shape", "seeds", "pairs", "right", "in %", "one pair %", "answers", "CPU s")

Planted = Callable[[np.random.Generator, int, int], np.ndarray]


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    rows: list[Sequence[Cell]] = []
    for shape, seeds, pairs in zip(SHAPES, options.seeds, options.pairs, strict=True):
        for name, (planted, right) in CASES.items():
            rng = np.random.default_rng([options.seed, len(rows)])
            noise = (planted(rng, *shape) for _ in range(seeds * pairs))
            rows.append(_row(name, shape, _judged(noise, pairs, generator), right(shape), pairs))
            print(*rows[-1], sep="  ", file=sys.stderr)
    for name, noise in _real_noise(options.real[1]):
        rng = np.random.default_rng([options.seed, len(rows)])
        mixed = (rng.permuted(pair.ravel()).reshape(pair.shape) for _ in range(options.real[0]) for pair in noise)
        judged = _judged(mixed, len(noise), generator)
        rows.append(_row(name, noise[0].shape, judged, ("bulk", "entries"), len(noise)))
        print(*rows[-1], sep="  ", file=sys.stderr)
    publish(
        "localization_verdicts",
        notes=[
            "right: answers that count, fixed beforehand (see the script); in %: share of seeds that get one of them,",
            "all pairs together; one pair: where a single pair is all there is. Layers of gpt-docs: real noise, its",
            "entries in random order. CPU s: of the reduction as a profile does it, all seeds and pairs.",
        ],
        settings={"seed": options.seed, "CPU seconds": round(time.process_time())},
        columns=COLUMNS,
        rows=rows,
        save=not options.quick,
    )


def gaussian(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Draw the null."""
    return rng.standard_normal((m, n), dtype=np.float32)


def rare_cauchy(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Add a Cauchy variable to one entry in a thousand."""
    noise = gaussian(rng, m, n)
    hit = rng.random((m, n), dtype=np.float32) < 1e-3
    noise[hit] += rng.standard_cauchy(np.count_nonzero(hit))
    return noise


def loud_rows(factor: float) -> Planted:
    """Make the first 2% of the rows louder."""

    def planted(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
        noise = gaussian(rng, m, n)
        noise[: round(LOUD_ROWS * m)] *= factor
        return noise

    return planted


def two_directions(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Add two singular values above the edge, with random vectors."""
    noise = gaussian(rng, m, n)
    for times in DIRECTIONS:
        left, right = gaussian(rng, m, 1), gaussian(rng, 1, n)
        size = times * (np.sqrt(m) + np.sqrt(n)) / (np.linalg.norm(left) * np.linalg.norm(right))
        noise += np.float32(size) * left @ right
    return noise


CASES: dict[str, tuple[Planted, Callable[[tuple[int, int]], tuple[str, ...]]]] = {
    "Gaussian": (gaussian, lambda _: ("bulk",)),
    "t(3)": (lambda rng, m, n: rng.standard_t(3, (m, n)), lambda _: ("entries",)),
    "0.1% Cauchy": (rare_cauchy, lambda shape: ("entries", "bulk") if shape == SHAPES[0] else ("entries",)),
    "stable 1.7": (lambda rng, m, n: stable_rvs(1.7, 0.0, (m, n), rng), lambda _: ("entries",)),
    "2% of rows × 3": (loud_rows(3.0), lambda _: ("rows",)),
    "2% of rows × 1.3": (loud_rows(1.3), lambda _: ("rows",)),
    "rank 2": (two_directions, lambda _: ("low_rank",)),
}


def _real_noise(pairs: int) -> list[tuple[str, list[np.ndarray]]]:
    """Collect noise matrices of one layer of each form of the sample checkpoint."""
    settings, _ = resolve(SAMPLE, {})
    workload = load_workload(SAMPLE, data=settings.data, factory=settings.factory, loss=settings.loss)
    place(workload, "cpu", train=settings.mode == "train")
    matrices = [p for p in trainable_parameters(workload.module) if p.tensor.ndim == 2][:6]
    noise: dict[str, list[np.ndarray]] = {p.layer.name: [] for p in matrices}
    stream = workload.batches(settings.batch_size, settings.seed)
    engine = DrawEngine(workload, matrices)
    with engine.attached():
        for _ in range(pairs):
            draws: list[list[np.ndarray]] = []
            for _ in range(2):
                engine.draw(next(stream)[0])
                draws.append([p.tensor.grad.numpy().copy() for p in matrices])  # pyright: ignore[reportOptionalMemberAccess]
            for p, first, second in zip(matrices, *draws, strict=True):
                noise[p.layer.name].append((first - second) * np.sqrt(0.5))
    return list(noise.items())


class Judged(NamedTuple):
    """One seed's verdict, those of its single pairs which were permuted, and the seconds their reduction took."""

    together: Verdict
    alone: list[Verdict]
    seconds: float


def _judged(noise: Iterator[np.ndarray], pairs: int, generator: torch.Generator) -> Iterator[Judged]:
    """Reduce and judge so many pairs at a time."""
    for first in noise:
        matrices = [first, *islice(noise, pairs - 1)]
        start = time.process_time()
        numbers = [_reduce(x, generator, permute=i % PERMUTED_EVERY == 0) for i, x in enumerate(matrices)]
        seconds = time.process_time() - start
        alone = [_judge(first.shape, [x]) for x in numbers if x.permuted_ratio is not None]
        yield Judged(_judge(first.shape, numbers), alone, seconds)


def _reduce(noise: np.ndarray, generator: torch.Generator, *, permute: bool) -> MatrixNumbers:
    median = float(np.median(np.abs(noise[noise != 0.0])))
    tensor = torch.from_numpy(noise.astype(np.float32, copy=False))
    return matrix_numbers(tensor, median_magnitude=median, generator=generator, permute=permute)


def _judge(shape: tuple[int, ...], numbers: list[MatrixNumbers]) -> Verdict:
    """Answer as a run does."""
    subject = Subject(layer=Layer("planted", Kind.OTHER, shape))
    found = estimate_localization(subject, matrix_sample(*shape, numbers))
    return next(each for each in found if isinstance(each, Verdict))


def _row(
    name: str, shape: tuple[int, ...], judged: Iterator[Judged], right: tuple[str, ...], pairs: int
) -> Sequence[Cell]:
    """Count the right answers."""
    seeds = list(judged)
    answers = Counter(str(seed.together.answer) for seed in seeds)
    alone = [each.answer in right for seed in seeds for each in seed.alone]
    return (
        name,
        f"{shape[0]} × {shape[1]}",
        len(seeds),
        pairs,
        " or ".join(right),
        round(100.0 * sum(answers[each] for each in right) / len(seeds), 1),
        round(100.0 * sum(alone) / len(alone), 1),
        ", ".join(f"{answer} {count}" for answer, count in answers.most_common()),
        round(sum(seed.seconds for seed in seeds), 1),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=(100, 40), help="of each case, small and large (100 40)")
    parser.add_argument("--pairs", type=int, nargs=2, default=(32, 8), help="of draws a seed, small and large (32 8)")
    parser.add_argument("--real", type=int, nargs=2, default=(20, 16), help="orders and pairs of real noise (20 16)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="2 seeds of 4 pairs, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.pairs, options.real = (2, 2), (4, 4), (1, 4)
    return options


if __name__ == "__main__":
    main()
