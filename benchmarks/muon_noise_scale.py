"""How often the bracket of the noise scale in Muon's norm holds the truth, and how wide it is.

A mean gradient of known nuclear norm, of rank one or full, stands under noise whose own is known from many more draws:
Gaussian, and Gaussian with one draw in ten ten times louder. What a followed matrix keeps is kept the same way.
"""

import argparse
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from report import Cell, publish
from torch import Tensor

from gnoise.collect.dual_norms import DualNorms
from gnoise.records import DrawSample, Estimate
from gnoise.stats.muon_noise_scale import MuonNorms, muon_estimate

SHAPE = (24, 40)
BLOCKS = 8
TRUTH = 20_000
Noise = Callable[[np.random.Generator, int], np.ndarray]


def main() -> None:
    """Repeat every setting; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="repetitions of each setting (200)")
    parser.add_argument("--quick", action="store_true", help="ten repetitions, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.runs = 10
    rows = [
        _row(law, noise, rank, ratio, draws, options.runs)
        for law, noise in LAWS.items()
        for rank in (1, SHAPE[0])
        for ratio in (0.1, 1.0, 10.0, 100.0)
        for draws in (64, 256)
    ]
    publish(
        "muon_noise_scale",
        notes=[
            f"{SHAPE[0]} × {SHAPE[1]} matrices; B/b: true noise scale in draws. held: share of brackets that hold it;",
            "bounded: share with both ends; low, value, high: medians, over the truth (high: infinite where missing).",
        ],
        settings={"runs": options.runs},
        columns=("noise", "rank", "B/b", "draws", "held", "bounded", "low", "value", "high"),
        rows=rows,
        save=not options.quick,
    )


def _gaussian(rng: np.random.Generator, draws: int) -> np.ndarray:
    return rng.standard_normal((draws, *SHAPE))


def _spikes(rng: np.random.Generator, draws: int) -> np.ndarray:
    return _gaussian(rng, draws) * np.where(rng.random(draws) < 0.1, 10.0, 1.0)[:, None, None]


LAWS: dict[str, Noise] = {"Gaussian": _gaussian, "spikes": _spikes}


def _row(law: str, noise: Noise, rank: int, ratio: float, draws: int, runs: int) -> tuple[Cell, ...]:
    rng, size_sq = np.random.default_rng(0), _noise_sq(noise)
    found: list[Estimate] = []
    for _ in range(runs):
        mean = rng.standard_normal((SHAPE[0], rank)) @ rng.standard_normal((rank, SHAPE[1]))
        mean *= np.sqrt(size_sq / ratio) / np.linalg.norm(mean, "nuc")
        found.append(_estimate((mean + noise(rng, draws)).astype(np.float32)))
    ends = [((e.low or 0.0) / ratio, np.inf if e.high is None else e.high / ratio) for e in found]
    values = [np.inf if e.value is None else e.value / ratio for e in found]
    return (
        law,
        rank,
        ratio,
        draws,
        sum(low <= 1.0 <= high for low, high in ends) / runs,
        sum(np.isfinite(high) for _, high in ends) / runs,
        float(np.median([low for low, _ in ends])),
        float(np.median(values)),
        float(np.median([high for _, high in ends])),
    )


@cache
def _noise_sq(noise: Noise) -> float:
    rng = np.random.default_rng(1)
    pairs = (noise(rng, TRUTH) - noise(rng, TRUTH)) * 0.5**0.5
    return float(np.square(np.linalg.norm(pairs, "nuc", axis=(1, 2))).mean())


def bracketed(draws: Tensor) -> MuonNorms:
    """Feed draws, a matrix each, as a followed matrix does."""
    half = len(draws) // 2
    dual = DualNorms(draws=len(draws) // BLOCKS)
    dual.learn(draws[:half].mean(0))
    for place, draw in enumerate(draws):
        if place % 2:
            dual.add_noise((draws[place - 1] - draw) * 0.5**0.5)
        if place >= half:
            dual.add(draw)
    return dual.take()


def _estimate(made: np.ndarray) -> Estimate:
    """Take draws to be of one example, so that the scale counts draws."""
    one = np.ones((len(made), 1))
    sample = DrawSample(np.zeros((len(made), 1), np.int64), one, one)
    return muon_estimate(None, bracketed(torch.from_numpy(made)), sample)


if __name__ == "__main__":
    main()
