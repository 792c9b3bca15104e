"""The stable fit against the Cramér–Rao bound: errors, coverage, refusals, wrong optima and time over a grid of laws.

Every run draws values of a standard law, sketches them and fits the sketch twice: as a user would, and started from
the truth. A run whose likelihood is lower than that of the fit from the truth has found a wrong optimum. Runs are kept
in a folder as they come; started again, the study goes on from there.
"""

import argparse
import csv
import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from report import Cell, publish

from gnoise.records import Status
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import StableFit, fit_stable, stable_information

ALPHAS = (0.6, 0.8, 1.0, 1.3, 1.5, 1.7, 1.9, 1.95)
BETAS = (0.0, 0.5, 0.9)
SIZES = (1000, 10_000, 100_000, 1_000_000)
LARGEST = SIZES[-1]
PARAMETERS = ("alpha", "beta", "gamma", "delta")
COLUMNS = ("value", "low", "high")
FIELDS = ("run", "settled", "seconds", "short", *(f"{name}_{column}" for name in PARAMETERS for column in COLUMNS))
WRONG = 0.05
BATCH = 20

Law = tuple[float, float, int]


def main() -> None:
    """Make the runs that are missing; print and write the table of all."""
    options = _options()
    laws = [(alpha, beta, n) for alpha in ALPHAS for beta in BETAS for n in options.sizes]
    jobs = [job for job in _jobs(laws, options) if job[1]]
    options.keep.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.processes) as pool:
        for law, rows in pool.map(_batch, jobs):
            with _kept(options.keep, law).open("a", newline="") as file:
                csv.writer(file).writerows(rows)
    publish(
        "stable_fit",
        notes=[
            "Sketches of n values of the standard law (S0). e: root mean square error over the Cramér–Rao bound at the",
            "truth; c: coverage of the 95% interval. refused: fits that ended with a status. wrong: fits whose log",
            f"likelihood is more than {WRONG} below that of a fit started from the truth. ms: median time of a fit.",
        ],
        settings={"runs": options.runs, f"runs at n = {LARGEST:,}": options.largest_runs},
        columns=["alpha", "beta", "n", "runs", "refused", "wrong", "ms"]
        + [f"{letter} {name}" for letter in "ec" for name in PARAMETERS],
        rows=[_row(law, _read(options.keep, law)) for law in laws if _kept(options.keep, law).exists()],
        save=not options.quick,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="of every law")
    parser.add_argument("--largest-runs", type=int, default=100, help=f"at n = {LARGEST:,}")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("runs/stable_fit"), help="folder of the runs made so far")
    parser.add_argument("--quick", action="store_true", help="two runs of each small law; writes no results")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.sizes, options.keep = 2, SIZES[:1], Path("runs/stable_fit_quick")
    return options


def _jobs(laws: Sequence[Law], options: argparse.Namespace) -> Iterator[tuple[Law, range]]:
    """Go round all laws a batch at a time, so that a study that is broken off is even."""
    done = {law: len(_read(options.keep, law)) for law in laws}
    for first in range(0, options.runs, BATCH):
        for law in laws:
            last = options.largest_runs if law[2] == LARGEST else options.runs
            yield law, range(max(first, done[law]), min(first + BATCH, last))


def _batch(job: tuple[Law, range]) -> tuple[Law, list[list[float]]]:
    law, runs = job
    return law, [_run(law, run) for run in runs]


def _run(law: Law, run: int) -> list[float]:
    alpha, beta, n = law
    rng = np.random.default_rng([run, n, round(100 * alpha), round(100 * beta)])
    sketch = sketch_from_values(stable_rvs(alpha, beta, n, rng))
    begin = time.process_time()
    fit = fit_stable(sketch)
    seconds = time.process_time() - begin
    truth = dataclasses.replace(fit, alpha=alpha, beta=beta, gamma=1.0, delta=0.0, status=Status.OK)
    best = fit_stable(sketch, start=truth)
    short = best.loglik - fit.loglik if fit.status is best.status is Status.OK else 0.0
    return [run, float(fit.status is Status.OK), seconds, short, *_numbers(fit)]


def _numbers(fit: StableFit) -> list[float]:
    return [
        getattr(fit, name if column == "value" else f"{name}_{column}") for name in PARAMETERS for column in COLUMNS
    ]


def _kept(folder: Path, law: Law) -> Path:
    return folder / f"alpha_{law[0]}_beta_{law[1]}_n_{law[2]}.csv"


def _read(folder: Path, law: Law) -> np.ndarray:
    path = _kept(folder, law)
    return np.loadtxt(path, delimiter=",", ndmin=2) if path.exists() else np.empty((0, len(FIELDS)))


def _row(law: Law, runs: np.ndarray) -> list[Cell]:
    alpha, beta, n = law
    column = {name: runs[:, place] for place, name in enumerate(FIELDS)}
    settled = column["settled"] == 1.0
    bound = np.sqrt(np.diag(np.linalg.inv(stable_information(alpha, beta))) / n)
    errors, coverage = [], []
    for place, (name, truth) in enumerate(zip(PARAMETERS, (alpha, beta, 1.0, 0.0), strict=True)):
        value, low, high = (column[f"{name}_{kind}"][settled] for kind in COLUMNS)
        errors.append(float(np.sqrt(np.mean((value - truth) ** 2)) / bound[place]))
        coverage.append(float(np.mean((low <= truth) & (truth <= high))))
    counts = [len(runs), int((~settled).sum()), int((column["short"] > WRONG).sum())]
    return [alpha, beta, n, *counts, 1e3 * float(np.median(column["seconds"])), *errors, *coverage]


if __name__ == "__main__":
    main()
