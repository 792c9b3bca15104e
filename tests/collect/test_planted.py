"""Noise with known parameters through the whole path: collected, written, analysed, and read back.

Every layer of a planted model has noise of its own, so that the layers of one run are as many repetitions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from gnoise.collect import collect_run, run_info, trainable_parameters
from gnoise.records import Estimate, Recommendation, Remedy, Status
from gnoise.runfile import open_run
from gnoise.runfile.analyze import analyze
from gnoise.stats.stable import stable_rvs
from tests.collect.workloads import planted_workload

DRAWS, EXAMPLES = 64, 8
Shape = tuple[int, ...]
DrawGradients = Callable[[np.random.Generator, int], list[np.ndarray]]


@dataclass(frozen=True)
class Found:
    """What a run says in the end, the model's under ``None``."""

    estimates: dict[tuple[str | None, str], Estimate]
    recommendations: dict[str | None, Recommendation]

    def of_layers(self, quantity: str) -> list[Estimate]:
        return [e for (layer, name), e in self.estimates.items() if name == quantity and layer is not None]

    @property
    def layers(self) -> list[Recommendation]:
        return [r for layer, r in self.recommendations.items() if layer is not None]

    @property
    def model(self) -> Recommendation:
        return self.recommendations[None]


def profiled(path: Path, draw_gradients: DrawGradients, shapes: list[Shape], *, seed: int = 0) -> Found:
    workload = planted_workload(draw_gradients, *shapes)
    parameters = trainable_parameters(workload.module)
    info = run_info(
        workload, parameters, source="planted", draws=DRAWS, examples_per_draw=EXAMPLES, seed=seed, command="test"
    )
    file = path / f"planted-{seed}.gnoise"
    collect_run(workload, parameters, file, info=info)
    analyze(file)
    with open_run(file) as run:
        return Found({(e.layer, e.quantity): e for e in run.estimates}, {r.layer: r for r in run.recommendations})


def gaussian(rng: np.random.Generator, examples: int, shape: Shape) -> np.ndarray:
    return rng.standard_normal((examples, *shape), dtype=np.float32)


def holding(estimates: list[Estimate], truth: float) -> int:
    """Count intervals that hold the truth; an end that is not given is no bound."""
    return sum((e.low is None or e.low <= truth) and (e.high is None or truth <= e.high) for e in estimates)


def fewest(trials: int, rate: float = 0.95) -> int:
    """Say how few successes at this rate still come by chance once in a few hundred times."""
    return int(binom.ppf(0.005, trials, rate))


def test_fewest_is_the_binomial_bound() -> None:
    assert (fewest(40), fewest(16)) == (34, 12)


@pytest.mark.slow
def test_the_noise_scale_is_the_planted_one(tmp_path: Path) -> None:
    entries, layers, b_simple = 128, 40, 40.0
    decays = np.tile([0.0, 1.0], layers // 2)  # equal and unequal scales in turns
    deviations = np.arange(1.0, entries + 1.0) ** (-decays[:, None] / 2)
    traces = np.square(deviations).sum(1)
    means = np.random.default_rng(1).standard_normal((layers, entries))
    means *= np.sqrt(traces[:, None] / b_simple) / np.linalg.norm(means, axis=1, keepdims=True)

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [m + d * gaussian(rng, examples, (entries,)) for m, d in zip(means, deviations, strict=True)]

    found = profiled(tmp_path, draw, [(entries,)] * layers)
    truths = {"b_simple": np.full(layers, b_simple), "grad_sq_norm": traces / b_simple, "trace_cov": traces}
    for quantity, truth in truths.items():
        estimates = found.of_layers(quantity)
        assert [e.status for e in estimates] == [Status.OK] * layers
        assert sum(holding([e], t) for e, t in zip(estimates, truth, strict=True)) >= fewest(layers), quantity
        assert np.mean([e.value or 0.0 for e in estimates] / truth) == pytest.approx(1.0, abs=0.1)
    model = found.estimates[None, "b_simple"]
    assert holding([model], b_simple) == 1
    assert model.value == pytest.approx(b_simple, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.7, 2.0])
def test_the_tail_index_is_the_planted_one(tmp_path: Path, alpha: float) -> None:
    entries, layers = 256, 16

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        # The mean of the examples of a draw is stable with the same index.
        return [stable_rvs(alpha, 0.0, (examples, entries), rng) for _ in range(layers)]

    found = profiled(tmp_path, draw, [(entries,)] * layers)
    for quantity, truth in (("alpha_entries", alpha), ("alpha_draws", alpha), ("averaging_slope", 1.0 / alpha - 1.0)):
        estimates = found.of_layers(quantity)
        assert [e.status for e in estimates] == [Status.OK] * layers
        assert holding(estimates, truth) >= fewest(layers), quantity
        assert np.mean([e.value or 0.0 for e in estimates]) == pytest.approx(truth, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("log_sd", [1.0, 2.0])
def test_unequal_scales_are_not_taken_for_heavy_tails(tmp_path: Path, log_sd: float) -> None:
    entries, layers = 256, 16
    scales = np.exp(log_sd * np.random.default_rng(2).standard_normal((layers, entries)))

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [scale * gaussian(rng, examples, (entries,)) for scale in scales]

    found = profiled(tmp_path, draw, [(entries,)] * layers)
    assert all(e.high is not None and e.high < 1.4 for e in found.of_layers("alpha_entries"))
    assert all(e.high is not None and e.high >= 1.95 for e in found.of_layers("alpha_draws"))
    assert all(e.value is not None and e.value >= 0.9 for e in found.of_layers("heterogeneity"))
    assert holding(found.of_layers("averaging_slope"), -0.5) >= fewest(layers)
    assert [(r.remedy, r.status) for r in found.layers] == [(Remedy.NONE, Status.OK)] * layers
    assert all("averaging suffices" in r.reason for r in found.layers)
    assert found.model.remedy is Remedy.NONE


def test_cauchy_entries_are_shrunk_or_clipped(tmp_path: Path) -> None:
    shapes: list[Shape] = [(16, 32)] * 6 + [(512,)] * 6

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [rng.standard_cauchy((examples, *shape)) for shape in shapes]

    found = profiled(tmp_path, draw, shapes)
    asked = [Remedy.SHRINK] * 6 + [Remedy.CLIP] * 6
    given = [r.remedy for r in found.layers]
    assert sum(a is b for a, b in zip(given, asked, strict=True)) >= 11, given


@pytest.mark.parametrize("seed", range(4))
def test_rare_loud_examples_are_named(tmp_path: Path, seed: int) -> None:
    shapes: list[Shape] = [(16, 32), (16, 32), (200,)]
    loud: list[np.ndarray] = []

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        loud.append(rng.random(examples) < 1 / 20)
        factor = np.where(loud[-1], 30.0, 1.0)
        return [factor.reshape(-1, *[1] * len(shape)) * gaussian(rng, examples, shape) for shape in shapes]

    found = profiled(tmp_path, draw, shapes, seed=seed)
    loud_ids = set(np.flatnonzero(np.concatenate(loud[-DRAWS:])))
    assert found.estimates[None, "example_spike_ratio"].value == pytest.approx(30.0, rel=0.1)
    assert found.model.remedy is Remedy.STABILIZE
    named = {int(number) for number in re.findall(r"(\d+) \(loss", found.model.reason)}
    assert len(named) == 5
    assert named <= loud_ids
    assert {r.remedy for r in found.layers} <= {Remedy.NONE, Remedy.STABILIZE}


@pytest.mark.parametrize("seed", range(2))
def test_each_planted_cause_gets_its_remedy(tmp_path: Path, seed: int) -> None:
    """A small version of ``benchmarks/planted.py``: one layer has one cause, all in one model."""
    shape, causes = (24, 40), ("equal", "lognormal", "cauchy", "loud", "noisy")
    means = [0.3 * np.random.default_rng(i).standard_normal(shape) for i in range(len(causes))]
    scales = np.exp(np.random.default_rng(9).standard_normal(shape))

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        equal, lognormal, cauchy, loud, noisy = (
            mean + size * gaussian(rng, examples, shape)
            for mean, size in zip(means, (2.0, 2.0, 2.0, 2.0, 10.0), strict=True)
        )
        hit = rng.random(cauchy.shape) < 0.03
        cauchy[hit] += 6.0 * rng.standard_cauchy(np.count_nonzero(hit))
        factor = np.where(rng.random((examples, 1, 1)) < 1 / 20, 30.0, 1.0)
        return [equal, scales * lognormal, cauchy, factor * loud, noisy]

    found = profiled(tmp_path, draw, [shape] * len(causes), seed=seed)
    # A layer may leave it to the model, whose remedy then is its own.
    left = "for the whole model does as much here"
    given = {cause: found.model if left in own.reason else own for cause, own in zip(causes, found.layers, strict=True)}
    assert [given[cause].remedy for cause in ("equal", "lognormal")] == [Remedy.NONE] * 2
    assert given["cauchy"].remedy in (Remedy.CLIP, Remedy.SHRINK)
    assert given["loud"].remedy in (Remedy.CLIP_NORM, Remedy.CLIP_GLOBAL_NORM, Remedy.STABILIZE)
    assert given["noisy"].remedy is Remedy.NONE  # gains of rates are what trials bore out least
    assert any("layerwise_lr" in line and "helps these draws" in line for line in given["noisy"].alternatives)
    for answer in given.values():
        saved = answer.tokens_saved_low
        assert answer.remedy is Remedy.NONE or (saved is not None and saved >= 0.02)


@pytest.mark.slow
def test_where_nothing_is_planted_nothing_is_found(tmp_path: Path) -> None:
    shapes: list[Shape] = [(16, 16), (256,), (8, 4, 3, 3), (24, 40)] * 6
    means = [0.15 * np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes)]

    def draw(rng: np.random.Generator, examples: int) -> list[np.ndarray]:
        return [mean + gaussian(rng, examples, mean.shape) for mean in means]

    found = profiled(tmp_path, draw, shapes)
    assert sum(r.remedy is Remedy.NONE for r in found.layers) >= 23
    assert found.model.remedy is Remedy.NONE
