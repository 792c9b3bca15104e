"""Gains under Muon as a run would report them, beside the truth of the same planted noise.

A matrix's mean gradient is known and its noise is planted, so that the true gain of every arm can be measured: by Muon
with its real momentum over many more draws than any run has, against the known gradient.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import torch
from report import publish

from gnoise.collect.followed import Followed
from gnoise.records import ProgressSample, Status
from gnoise.remedies.geometry import approximate_polar_factor
from gnoise.stats.evidence import GAMMAS, MATRIX_ARMS, Gain, Met, Spectral, matrix_progress, setting_gains

SHAPE = (48, 80)
SIGNAL = 0.5
BLOCKS = 8
DRAWS = (256, 512)
WARM, EVERY, STRETCHES = 200, 5, 20
MUON = Spectral()
Noise = Callable[[np.random.Generator], np.ndarray]


def main() -> None:
    """Judge every cause at both numbers of draws over seeds; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--truth", type=int, default=60_000, help="draws behind a true gain")
    parser.add_argument("--quick", action="store_true", help="two seeds, 400 draws for the truth; writes nothing")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.truth = 2, 400
    rows: list[tuple[object, ...]] = []
    errors: list[float] = []
    for cause, noise in CAUSES.items():
        truth, error = _true_gains(noise, options.truth)
        errors.append(error)
        for draws in DRAWS:
            rows += _rows(cause, draws, [_judged(noise, seed, draws) for seed in range(options.seeds)], truth)
    publish(
        "matrix_gains",
        notes=[
            f"{SHAPE[0]} × {SHAPE[1]} matrix, mean gradient of size {SIGNAL:g} under planted noise. gain: median over",
            f"seeds; true: of Muon with its own momentum over many draws, standard error {max(errors):.1%} or less;",
            "covered: share of 95% intervals that hold it, or of lower bounds below it; bounds: share of seeds",
            "where one draw outweighs the others, so that only a lower bound is given; surely up, down: share of",
            "intervals wholly above 1.01, below 0.99; judged: share of seeds with a gain.",
        ],
        settings={"seeds": options.seeds, "draws of the truth": options.truth},
        columns=["cause", "draws", "arm", "gain", "true", "covered", "bounds", "surely up", "surely down", "judged"],
        rows=rows,  # pyright: ignore[reportArgumentType]
        save=not options.quick,
    )


def _gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(SHAPE)


def _scales(rng: np.random.Generator) -> np.ndarray:
    return _SCALES * rng.standard_normal(SHAPE)


def _cauchy(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(SHAPE) + (rng.random(SHAPE) < 0.03) * 3.0 * rng.standard_cauchy(SHAPE)


def _spikes(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(SHAPE) * (10.0 if rng.random() < 0.1 else 1.0)


_SCALES = np.exp(np.random.default_rng(99).standard_normal(SHAPE))
CAUSES: dict[str, Noise] = {
    "nothing": _gaussian,
    "unequal scales": _scales,
    "3% Cauchy entries": _cauchy,
    "spikes": _spikes,
}


def _gradient(rng: np.random.Generator) -> np.ndarray:
    return SIGNAL * rng.standard_normal(SHAPE)


def _judged(noise: Noise, seed: int, draws: int) -> dict[str, tuple[float, float, float]]:
    """Make one run's draws and read the gains off them: value, low, high by arm; no upper end is infinity."""
    rng = np.random.default_rng([seed, draws])
    mean = _gradient(np.random.default_rng(0))
    matrix, samples, sq_norms = Followed(MUON, draws=draws // BLOCKS), list[ProgressSample](), list[float]()
    for block in range(BLOCKS):
        for _ in range(draws // BLOCKS // 2):
            pair = [torch.tensor(mean + noise(rng), dtype=torch.float32) for _ in range(2)]
            for draw in pair:
                norm = float(draw.norm())
                sq_norms.append(norm**2)
                matrix.add(draw, norm, learning=block < BLOCKS // 2)
            if block < BLOCKS // 2:
                matrix.learn_scale(float((pair[0] - pair[1]).abs().median()) * 0.5**0.5)
        samples.append(matrix.take())
    whole = replace(samples[0], along=np.concatenate([sample.along for sample in samples]))
    progress = matrix_progress(whole, MUON, draw_sq_norms=np.array(sq_norms))
    if isinstance(progress, Status):
        return {}
    return {g.setting: (g.gain.value, g.gain.low, _upper(g)) for g in setting_gains(progress) if g.gain}


def _upper(gain: Gain) -> float:
    return inf if gain.gain is None or gain.status is Status.AT_LEAST else gain.gain.high


def _true_gains(noise: Noise, draws: int) -> tuple[dict[str, float], float]:
    """Run Muon long, against the gradient that is known; scales and norms are the noise's own medians.

    Returns:
        gains by setting, and the largest standard error of their logarithms, from twenty stretches.
    """
    rng = np.random.default_rng(7)
    mean = _gradient(np.random.default_rng(0))
    some = [noise(rng) for _ in range(200)]
    scale = float(np.median([np.median(np.abs(one - other)) for one, other in zip(some[::2], some[1::2], strict=True)]))
    norms = [float(np.linalg.norm(mean + one)) for one in some]
    first, square = float(np.mean(norms)), float(np.mean(np.square(norms)))
    buffers, along = [torch.zeros(SHAPE) for _ in MATRIX_ARMS], [list[float]() for _ in MATRIX_ARMS]
    for number in range(draws):
        draw = mean + noise(rng)
        norm = float(np.linalg.norm(draw))
        first = GAMMAS[0] * first + (1 - GAMMAS[0]) * norm
        square = GAMMAS[1] * square + (1 - GAMMAS[1]) * norm**2
        updates = number >= WARM and number % EVERY == 0
        met = Met(scale * 0.5**0.5, float(np.median(norms)), norm, first / square**0.5)
        for arm, each in enumerate(MATRIX_ARMS):
            treated = each.treat(torch.tensor(draw, dtype=torch.float32), met)
            buffers[arm].lerp_(treated, 1.0 - MUON.momentum)
            if updates:
                update = treated.lerp(buffers[arm], MUON.momentum)
                step = approximate_polar_factor(update, steps=5, polish=0).float().numpy()
                along[arm].append(float((mean * step).sum()))
    stretches = np.array(along)[:, : len(along[0]) // STRETCHES * STRETCHES].reshape(len(along), STRETCHES, -1).mean(-1)
    logs = 2.0 * np.log(stretches / stretches[0])
    gains = np.square(np.mean(along, axis=1) / np.mean(along[0]))
    error = float(logs.std(axis=1, ddof=1).max()) / STRETCHES**0.5
    return {each.arm.setting: float(gain) for each, gain in zip(MATRIX_ARMS, gains, strict=True)}, error


def _rows(
    cause: str, draws: int, found: list[dict[str, tuple[float, float, float]]], truth: dict[str, float]
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for each in MATRIX_ARMS[1:]:
        setting = each.arm.setting
        gains = np.array([one[setting] for one in found if setting in one]).reshape(-1, 3)
        value, low, high = gains.T
        rows.append(
            (
                cause,
                draws,
                f"{each.arm.remedy}: {setting}",
                float(np.median(value)),
                truth[setting],
                float(np.mean((low <= truth[setting]) & (truth[setting] <= high))),
                float(np.mean(np.isinf(high))),
                float(np.mean(low > 1.01)),
                float(np.mean(high < 0.99)),
                len(gains) / len(found),
            )
        )
    return rows


if __name__ == "__main__":
    main()
