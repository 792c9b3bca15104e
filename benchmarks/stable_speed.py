"""How long a fit of a stable law takes, beside the `levy-stable` package and SciPy on the same values.

`levy-stable` serves as a yardstick only; gnoise never imports it, and without it its columns stay empty. It needs
pydantic beside NumPy and SciPy. To fill them:

    .venv/bin/python -m pip install --target /tmp/levy --no-deps levy-stable
    .venv/bin/python -m pip install --target /tmp/levy pydantic
    PYTHONPATH=/tmp/levy .venv/bin/python benchmarks/stable_speed.py

SciPy's own fit takes minutes even of a few values, so it is timed at the smallest size alone; nothing is extrapolated.
"""

import argparse
import importlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from report import Cell, publish
from scipy.stats import levy_stable

from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.stable_fit import fit_stable

LAWS = ((0.8, 0.5), (1.0, 0.0), (1.5, 0.5), (1.95, 0.0))
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
LARGEST_PEER = 100_000
SCIPY_LAW, SCIPY_SIZE = (1.5, 0.5), 200
ROUNDS = 7

Timed = Callable[[], object]


def main() -> None:
    """Time every fit; print and write the table."""
    options = _options()
    peer = _peer()
    rows = [_row(law, n, options.rounds, peer) for law in LAWS for n in options.sizes]
    if options.scipy:
        rows.insert(0, _scipy_row(options.rounds))
    publish(
        "stable_speed",
        notes=[
            "Median milliseconds of wall clock, one after the other in one process. values: from the values;",
            "sketch: from their sketch; symmetric: from the sketch with beta held at 0. levy-stable and scipy fit the",
            "values (once, at 100,000); ratios are theirs over ours from the values. Only ours has intervals.",
        ],
        settings={"rounds": options.rounds, "levy-stable": "present" if peer else "missing: see --help"},
        columns=["alpha", "beta", "n", "values", "sketch", "symmetric", "levy-stable", "ratio", "scipy", "ratio scipy"],
        rows=rows,
        save=not options.quick,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timings a median is taken of")
    parser.add_argument("--no-scipy", dest="scipy", action="store_false", help="leave SciPy's minutes out")
    parser.add_argument("--quick", action="store_true", help="small sizes, no SciPy; writes no results")
    options = parser.parse_args()
    options.sizes = SIZES[:2] if options.quick else SIZES
    options.scipy = options.scipy and not options.quick
    return options


def _peer() -> Callable[[np.ndarray], object] | None:
    """Find levy-stable's fit, where it is installed."""
    if importlib.util.find_spec("levy") is None:
        return None
    return importlib.import_module("levy.fitting").fit_levy


def _row(law: tuple[float, float], n: int, rounds: int, peer: Callable[[np.ndarray], object] | None) -> list[Cell]:
    values = stable_rvs(*law, n, np.random.default_rng(n))
    sketch = sketch_from_values(values)
    ours, sketched, symmetric = (
        _milliseconds(fit, rounds)
        for fit in (
            lambda: fit_stable(values),
            lambda: fit_stable(sketch),
            lambda: fit_stable(sketch, symmetric=True),
        )
    )
    theirs = None
    if peer is not None and n <= LARGEST_PEER:
        theirs = _milliseconds(lambda: peer(values), 1 if n == LARGEST_PEER else min(rounds, 3))
    return [*law, n, ours, sketched, symmetric, theirs, theirs / ours if theirs else None, None, None]


def _scipy_row(rounds: int) -> list[Cell]:
    values = stable_rvs(*SCIPY_LAW, SCIPY_SIZE, np.random.default_rng(SCIPY_SIZE))
    ours = _milliseconds(lambda: fit_stable(values), rounds)
    levy_stable.parameterization = "S0"
    scipys = _milliseconds(lambda: levy_stable.fit(values), 1)
    return [*SCIPY_LAW, SCIPY_SIZE, ours, None, None, None, None, scipys, scipys / ours]


def _milliseconds(fit: Timed, rounds: int) -> float:
    """Take the median of some runs; a single run is not preceded by one to warm up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if rounds > 1:
            fit()
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            fit()
            times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
