"""Gains of remedies on draws made with a known cause: do they single out what helps, and are their intervals right.

Arrays only. A layer of 48 × 80 entries has gradient 0.3 an entry in Gaussian noise of size 2, 8 examples a draw, and

- ``equal``, ``lognormal 1``, ``lognormal 2``: entries' scales equal, or lognormal with that deviation of the log;
- ``cauchy``: 3% of the entries of an example carry Cauchy noise of size 6 as well;
- ``spikes``: one example in twenty is thirty times as loud;
- ``student``: Student's t with 3 degrees of freedom in place of the Gaussian.

The gradient is the same in all seeds, draws are not. The true gain is that of the remedy and Adam really run over
thousands of new draws with the gradient known; settings are multiples of what a run itself shows, so that truth is
computed at a dozen limits and read off between them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from report import Cell, publish
from scipy.special import stdtrit

from gnoise.formulas import adam_direction, clip_norm_factor, clip_value, ema, shrink_rational, shrink_saturating
from gnoise.records import CoordinateSample, Status
from gnoise.stats.evidence import ARMS, NONE, Arm, Gain, Gradients, Progress, adam, gains, measure_progress

ENTRIES, COORDS, EXAMPLES, BETAS = 48 * 80, 1024, 8, (0.9, 0.95)
SIGNAL, NOISE = 0.3, 2.0
PLANTED = (
    ("equal", 64), ("lognormal 1", 64), ("lognormal 2", 64), ("student", 64), ("spikes", 64), ("cauchy", 64),
    ("cauchy", 128),
)  # fmt: skip
REMEDIES = ("clip", "shrink", "clip_norm", "stabilize")
FORMS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "clip": clip_value, "rational": shrink_rational, "saturating": shrink_saturating
}  # fmt: skip
COLUMNS = (
    "planted", "draws", "remedy", "gain", "low", "high", "true", "β₂ .999",
    "bounds %", "in interval %", "above %", "below %",
)  # fmt: skip
_IDLE = 5e-4
"""In the logarithm: what truth leaves open, and below which a remedy does nothing that could be missed."""

Values = Float[np.ndarray, "draws coords"]
Truth = Callable[[Gain], float]


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    rows: list[list[Cell]] = []
    inside: dict[str, list[bool]] = {}
    for cause, draws in PLANTED:
        truth = true_gains(cause, options.truth)
        found = [_gains(cause, draws, seed, BETAS) for seed in range(options.seeds)]
        usual = [_gains(cause, draws, seed, (0.9, 0.999)) for seed in range(options.seeds)]
        for remedy in REMEDIES:
            row, held = _row(cause, draws, remedy, [[each[remedy] for each in some] for some in (found, usual)], truth)
            rows.append(row)
            inside.setdefault(f"{cause}, {draws} draws", []).extend(held)
        print(cause, draws, round(time.process_time()), file=sys.stderr)
    every = [held for name, some in inside.items() if not name.startswith("cauchy") for held in some]
    publish(
        "evidence_gains",
        notes=[
            f"gain, low, high: geometric mean over seeds with its 95% interval, Adam with betas {BETAS}; true: of the",
            "settings chosen. bounds %: of seeds whose gains are called lower bounds, because one draw outweighs the",
            "others: v is then made by the loudest of all draws so far, and 64 are too few to know how loud.",
            "in interval %: of seeds whose own 95% interval, or bound, holds the truth; above, below %: whose is above",
            "or below it; a dash where the remedy does nothing at all. Intervals of everything but Cauchy entries",
            f"together hold the truth in {100.0 * np.mean(every):.1f}% of {len(every)}.",
        ],
        settings={"seeds": options.seeds, "truth draws": options.truth, "CPU seconds": round(time.process_time())},
        columns=COLUMNS,
        rows=rows,
        details={"in interval %": {name: 100.0 * float(np.mean(held)) for name, held in inside.items() if held}},
        save=not options.quick,
    )


def draw_gradients(cause: str, count: int, rng: np.random.Generator) -> Values:
    """Draw gradients of the whole layer, each the mean of :data:`EXAMPLES` examples.

    Args:
        cause: one of :data:`PLANTED`.
        count: of draws.
        rng: of the examples; what they share is the same every time.
    """
    gradient, scales = SIGNAL * np.random.default_rng(0).standard_normal(ENTRIES), np.ones(ENTRIES)
    if cause.startswith("lognormal"):
        scales = np.exp(float(cause[-1]) * np.random.default_rng(1).standard_normal(ENTRIES))
    noise = NOISE * rng.standard_normal((count * EXAMPLES, ENTRIES), dtype=np.float32)
    if cause == "student":
        noise = NOISE * rng.standard_t(3.0, noise.shape) / np.sqrt(3.0)
    elif cause == "cauchy":
        hit = rng.random(noise.shape, dtype=np.float32) < 0.03
        noise[hit] += 3.0 * NOISE * rng.standard_cauchy(np.count_nonzero(hit))
    each = (gradient + noise) * scales
    if cause == "spikes":
        each *= np.where(rng.random((count * EXAMPLES, 1)) < 0.05, 30.0, 1.0)
    return each.reshape(count, EXAMPLES, -1).mean(axis=1)


def mean_gradient(cause: str) -> Float[np.ndarray, " coords"]:
    """Compute what is left of :func:`draw_gradients` without noise, up to a factor, at the sampled coordinates."""
    gradient, scales = SIGNAL * np.random.default_rng(0).standard_normal(ENTRIES), np.ones(ENTRIES)
    if cause.startswith("lognormal"):
        scales = np.exp(float(cause[-1]) * np.random.default_rng(1).standard_normal(ENTRIES))
    return (gradient * scales)[:COORDS]


def true_gains(cause: str, draws: int) -> Truth:
    """Run remedies and Adam over new draws at frozen weights, held against the known gradient.

    Args:
        cause: that was planted.
        draws: how many, after a hundred to fill the moments.

    Returns:
        a function that reads off the log of a found setting's true gain.
    """
    rng = np.random.default_rng(99)
    filling = draw_gradients(cause, 512, rng)
    start = _as_seen(filling)
    entry, norm = start.scale * np.geomspace(1.2, 36.0, 14), start.median_norm * np.geomspace(0.5, 8.0, 12)
    grid = [Arm(form, "", lambda g, f=f, x=x: f(g.values, x)) for form, f in FORMS.items() for x in entry]
    grid += [Arm("clip_norm", "", lambda g, x=x: clip_norm_factor(g.norms, x)[:, None] * g.values) for x in norm]
    as_they_are = [arm for arm in ARMS if arm.by_coordinate or arm.remedy == "stabilize"]
    logs = np.log(_progress(cause, draws, start, [NONE, *grid, *as_they_are], rng))
    logs -= logs[0]
    limits = {form: (np.log(entry), logs[1 + 14 * k : 15 + 14 * k]) for k, form in enumerate(FORMS)}
    limits["clip_norm"] = (np.log(norm), logs[43:55])
    alone = {arm.setting: float(value) for arm, value in zip(as_they_are, logs[55:], strict=True)}

    def read(found: Gain) -> float:
        if found.setting in alone:
            return alone[found.setting]
        form = str(found.params.get("form", found.remedy))
        limit = next(x for name, x in found.params.items() if name != "form")
        assert isinstance(limit, float)
        return float(np.interp(np.log(limit), *limits[form]))

    return read


def _progress(
    cause: str, draws: int, start: Gradients, arms: Sequence[Arm], rng: np.random.Generator
) -> Float[np.ndarray, " arms"]:
    true = mean_gradient(cause)
    curvature = np.median(np.abs(start.values), axis=0) / 0.6744897501960817
    first = np.zeros((len(arms), true.size))
    second = np.stack([np.square(arm.treat(start)).mean(axis=0) for arm in arms])
    along, size, seen = np.zeros(len(arms)), np.zeros(len(arms)), 0
    for values in _chunks(cause, draws, rng):
        drawn = _as_seen(values, start)
        for grad in np.stack([arm.treat(drawn) for arm in arms], axis=1):
            first, second, seen = ema(first, grad, BETAS[0]), ema(second, grad * grad, BETAS[1]), seen + 1
            if seen > 100:
                update = adam_direction(first, second, step=10**6, betas=BETAS)
                along += update @ true
                size += np.square(update) @ curvature
    return np.square(along) / size


def _chunks(cause: str, draws: int, rng: np.random.Generator) -> Iterator[Values]:
    for start in range(0, draws + 100, 64):
        yield draw_gradients(cause, min(64, draws + 100 - start), rng)


def _as_seen(values: Values, reference: Gradients | None = None) -> Gradients:
    """Make of draws what a remedy meets, medians and what fills scales taken from the reference where there is one."""
    norms, sampled = np.linalg.norm(values, axis=1), values[:, :COORDS].astype(np.float64)
    if reference is None:
        median, scale = float(np.median(norms)), float(np.median(np.abs(values[0::2] - values[1::2])) / np.sqrt(2.0))
        return Gradients(sampled, norms, norms, median, median, scale, sampled)
    medians = (reference.median_norm, reference.median_model_norm)
    return Gradients(sampled, norms, norms, *medians, reference.scale, reference.filling)


def _gains(cause: str, draws: int, seed: int, betas: tuple[float, float]) -> dict[str, Gain]:
    values = draw_gradients(cause, draws, np.random.default_rng([seed, 7]))
    sq_norms = np.square(values, dtype=np.float64).sum(axis=1)
    sample = CoordinateSample(np.arange(COORDS), values[:, :COORDS].astype(np.float32), sq_norms, sq_norms)
    arms = [arm for arm in ARMS if arm.remedy in REMEDIES]
    found = measure_progress(sample, adam(betas), arms)
    if not isinstance(found, Progress):
        raise RuntimeError(f"expected progress, got {found}")
    return {each.remedy: each for each in gains(found)}


def _row(
    cause: str, draws: int, remedy: str, found: Sequence[Sequence[Gain]], truth: Truth
) -> tuple[list[Cell], list[bool]]:
    own = [each for each in found[0] if each.gain is not None]
    intervals = [np.log([each.gain.value, each.gain.low, each.gain.high]) for each in own if each.gain is not None]
    values, lows, highs = np.array(intervals).T
    bounds = np.array([each.status is Status.AT_LEAST for each in own])
    highs = np.where(bounds, np.inf, highs)
    true = np.array([truth(each) for each in own])
    usual = [float(np.log(each.gain.value)) for each in found[1] if each.gain is not None]
    busy = (np.abs(true) > _IDLE) | (highs - lows > 2.0 * _IDLE)
    above, below = (lows - _IDLE > true)[busy], (highs + _IDLE < true)[busy]
    held = list(~(above | below))
    half = float(stdtrit(len(own) - 1, 0.975)) * values.std(ddof=1) / np.sqrt(len(own))
    means = [float(np.exp(x)) for x in (values.mean(), values.mean() - half, values.mean() + half, true.mean())]
    shares: list[Cell] = [100.0 * float(np.mean(x)) if held else None for x in (held, above, below)]
    return [
        cause,
        draws,
        remedy,
        *means,
        float(np.exp(np.mean(usual))) if usual else None,
        100.0 * bounds.mean(),
        *shares,
    ], held


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--truth", type=int, default=24_000, help="new draws behind a true gain")
    parser.add_argument("--quick", action="store_true", help="four seeds, nothing saved")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.truth = 4, 1000
    return options


if __name__ == "__main__":
    main()
