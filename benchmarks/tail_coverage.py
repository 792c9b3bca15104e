"""How well the tail indices and the averaging slope are estimated, on noise whose law is known.

No torch and no network: draws of 1,024 entries come from a law, become sketches and coordinates as in a run, and are
estimated. Laws without a tail index have no truth to cover: for those the table says what is read.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from report import Cell, publish

from gnoise.records import CoordinateSample, Estimate, SketchSample, Status
from gnoise.stats import Subject
from gnoise.stats.averaging import estimate_averaging
from gnoise.stats.sketch import sketch_from_values
from gnoise.stats.stable import stable_rvs
from gnoise.stats.tails import estimate_tails

DRAWS, BLOCKS, ENTRIES = 64, 8, 1024
SHAPE = (DRAWS, ENTRIES)
LONG_RUN_SLOPE = -0.5
QUANTITIES = ("alpha_entries", "alpha_draws", "averaging_slope")

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Law:
    """Noise of one tensor.

    Attributes:
        name: for the table.
        draw: draws × entries.
        truth: by quantity, of those that have one.
    """

    name: str
    draw: Draw
    truth: dict[str, float]


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    start = time.process_time()
    rng = np.random.default_rng(options.seed)
    found = {law.name: [_estimate(law.draw(rng)) for _ in range(options.runs)] for law in LAWS}
    publish(
        "tail_coverage",
        notes=[
            f"{DRAWS} draws of {ENTRIES} entries in {BLOCKS} blocks; 95% intervals; {options.runs} runs a law, so a",
            f"coverage of .950 has a standard error of {np.sqrt(0.95 * 0.05 / options.runs):.3f}. A dash: no truth.",
            "z: standard deviation of error/stderr; 1.18 in Student's t(7), 1.73 in the t(3) of alpha_draws.",
            "unsteady: share of runs in which alpha_averaging is refused as the slope changes; 1.5% where it does not.",
            "heterogeneity: median share of 2 − α (entries) that unequal scales explain.",
        ],
        settings={
            "runs": options.runs,
            "seed": options.seed,
            "CPU seconds": round(time.process_time() - start),
        },
        columns=(
            "law",
            "quantity",
            "truth",
            "mean",
            "rmse",
            "coverage",
            "z",
            "half width",
            "unsteady",
            "heterog.",
        ),
        rows=[_row(law, quantity, found[law.name]) for law in LAWS for quantity in QUANTITIES],
        save=not options.quick,
    )


def _gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(SHAPE)


def _stable(alpha: float) -> Law:
    truth = {"alpha_entries": alpha, "alpha_draws": alpha, "averaging_slope": 1.0 / alpha - 1.0}
    return Law(f"stable {alpha:g}", lambda rng: stable_rvs(alpha, 0.0, SHAPE, rng), truth)


def _lognormal(log_sd: float) -> Draw:
    """Exactly Gaussian noise; only its scale differs from entry to entry."""
    return lambda rng: _gaussian(rng) * np.exp(log_sd * rng.standard_normal(ENTRIES))


def _cauchy_lognormal(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_cauchy(SHAPE) * np.exp(rng.standard_normal(ENTRIES))


def _shared(rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, a tenth of whose energy moves all entries of a draw together."""
    return _gaussian(rng) + np.sqrt(0.1) * rng.standard_normal((DRAWS, 1)) * rng.standard_normal(ENTRIES)


def _contaminated(rng: np.random.Generator) -> np.ndarray:
    """Three entries in a hundred of each draw are Cauchy on top of Gaussian noise."""
    return _gaussian(rng) + (rng.random(SHAPE) < 0.03) * rng.standard_cauchy(SHAPE)


def _loud(rng: np.random.Generator) -> np.ndarray:
    """One draw in twenty is ten times as large, in all of its entries."""
    return _gaussian(rng) * np.where(rng.random((DRAWS, 1)) < 0.05, 10.0, 1.0)


NOISE_IS_GAUSSIAN = {"alpha_draws": 2.0, "averaging_slope": LONG_RUN_SLOPE}
LAWS: tuple[Law, ...] = (
    Law("Gaussian", _gaussian, {"alpha_entries": 2.0, **NOISE_IS_GAUSSIAN}),
    Law("Gaussian, shared direction", _shared, NOISE_IS_GAUSSIAN),
    Law("Gaussian, lognormal scales, log-sd 1", _lognormal(1.0), NOISE_IS_GAUSSIAN),
    Law("Gaussian, lognormal scales, log-sd 2", _lognormal(2.0), NOISE_IS_GAUSSIAN),
    _stable(1.95),
    _stable(1.7),
    _stable(1.5),
    _stable(1.3),
    _stable(1.0),
    Law("Cauchy, lognormal scales, log-sd 1", _cauchy_lognormal, {"alpha_draws": 1.0, "averaging_slope": 0.0}),
    Law("Student t(3)", lambda rng: rng.standard_t(3.0, SHAPE), {}),
    Law("Student t(5)", lambda rng: rng.standard_t(5.0, SHAPE), {}),
    Law("Laplace", lambda rng: rng.laplace(size=SHAPE), {}),
    Law("Gaussian plus Cauchy (Voigt)", lambda rng: _gaussian(rng) + 0.2 * rng.standard_cauchy(SHAPE), {}),
    Law("Gaussian, 3% of entries Cauchy", _contaminated, {}),
    Law("Gaussian, 5% of draws 10 times as loud", _loud, {}),
)


def _estimate(draws: np.ndarray) -> dict[str, Estimate]:
    """Sample one tensor's draws as a run does, and fit."""
    noise = ((draws[0::2] - draws[1::2]) / np.sqrt(2.0)).reshape(BLOCKS, -1, ENTRIES)
    first, second = noise[: BLOCKS // 2], noise[BLOCKS // 2 :]
    scale = np.exp(np.log(np.abs(first)).mean((0, 1)))
    sketches = SketchSample(
        entries=tuple(sketch_from_values(block.astype(np.float32)) for block in noise),
        draws=tuple(sketch_from_values((block / scale).astype(np.float32)) for block in second),
        scale_pairs=first.shape[0] * first.shape[1],
    )
    sq_norms = np.square(draws).sum(1)
    coordinates = CoordinateSample(np.arange(ENTRIES), draws, sq_norms, sq_norms)
    subject = Subject(layer=None)
    estimates = estimate_tails(subject, sketches) + estimate_averaging(subject, coordinates)
    return {estimate.quantity: estimate for estimate in estimates}


def _row(law: Law, quantity: str, found: Sequence[dict[str, Estimate]]) -> Sequence[Cell]:
    """Count how one law's runs came out."""
    ends = [(e.value, e.low, e.high, e.stderr) for e in (run[quantity] for run in found)]
    value, low, high, stderr = np.array([x for x in ends if None not in x], dtype=np.float64).T
    truth = law.truth.get(quantity)
    unsteady = [run["alpha_averaging"].status is Status.NOT_CONSTANT_SLOPE for run in found]
    shares = [share for share in (run["heterogeneity"].value for run in found) if share is not None]
    return (
        law.name,
        quantity,
        truth,
        float(value.mean()),
        None if truth is None else float(np.sqrt(np.mean(np.square(value - truth)))),
        None if truth is None else float(np.mean((low <= truth) & (truth <= high))),
        None if truth in (None, 2.0) else float(np.std((value - truth) / stderr)),
        float(np.median(high - low) / 2.0),
        float(np.mean(unsteady)) if quantity == "averaging_slope" else None,
        float(np.median(shares)) if quantity == "alpha_draws" and len(shares) > len(found) / 2 else None,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="repetitions of each law (100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--quick", action="store_true", help="4 repetitions, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 4
    return options


if __name__ == "__main__":
    main()
