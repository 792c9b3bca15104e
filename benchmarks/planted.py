"""Noise with a known cause: is it named, is the right remedy recommended, and is the gain what it is said to be.

A model's layers each have one cause planted (40 × 48 entries, gradient 0.3 an entry in noise of size 2, 8 examples a
draw, 64 draws, AdamW with betas 0.9, 0.95); it is profiled and analysed as any checkpoint is. What counts as right,
after a first look at three seeds:

- ``equal``, ``lognormal``: Gaussian noise, scales of entries equal or lognormal: no remedy. That lognormal scales put
  the noise in single entries is a fair thing to say.
- ``cauchy``: 3% of the entries of an example carry Cauchy noise as well: ``clip`` or ``shrink``.
- ``student``: Student-t noise with 3 degrees of freedom: what pays may be recommended, a bound on norms may not; eight
  examples average most of it away, so that it may go unnamed.
- ``loud``: one example in twenty is thirty times as loud: a bound on the norm.
- ``rows``: one row in twenty is three times as loud: no remedy.
- ``low rank``: two directions with singular values twice the edge of the bulk, new in each example: no remedy.
- ``noisy``: noise of the whole layer five times as large: ``layerwise_lr``.

The true gain of a recommended setting is that of the remedy and the real optimizer run over thousands of new draws,
with the gradient known.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from report import Cell, publish
from torch import nn

from gnoise.collect import Workload, collect_run, run_info, trainable_parameters
from gnoise.formulas import adam_direction, ema
from gnoise.records import CoordinateSample, Evidence, EvidenceRole, JsonValue, Recommendation, Remedy, Status
from gnoise.rules import Findings, diagnose
from gnoise.runfile import Run, open_run
from gnoise.runfile.analyze import analyze
from gnoise.stats.evidence import ARMS, NONE, Arm, Gradients

SHAPE, EXAMPLES, DRAWS, BETAS = (40, 48), 8, 64, (0.9, 0.95)
SIGNAL, NOISE = 0.3, 2.0
NOTHING = ("none",)
RIGHT = {
    "equal": NOTHING,
    "lognormal": NOTHING,
    "cauchy": ("clip", "shrink"),
    "student": ("none", "clip", "shrink"),
    "loud": ("clip_norm", "clip_global_norm", "stabilize"),
    "rows": NOTHING,
    "low rank": NOTHING,
    "noisy": ("layerwise_lr",),
}
NAMED = {
    "equal": ("nothing",),
    "lognormal": ("nothing", "entries"),
    "cauchy": ("heavy tail", "entries"),
    "student": ("nothing", "heavy tail", "entries"),
    "loud": ("spikes",),
    "rows": ("rows",),
    "low rank": ("low rank",),
    "noisy": ("noisy layer",),
}
JUDGED = ("equal", "lognormal", "student", "loud", "rows", "cauchy")
_SLACK = 5e-4
COLUMNS = ("planted", "seeds", "named %", "right remedy %", "recommended", "gain", "true gain", "in interval %", "of")


@dataclass
class Tally:
    """What came of one cause over all seeds."""

    named: int = 0
    right: int = 0
    remedies: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    gains: list[float] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)


class Planted(nn.Module):
    """A module whose gradient of one example is whatever the example holds."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ParameterList([nn.Parameter(torch.zeros(SHAPE)) for _ in range(layers)])

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean of ⟨parameter, planted gradient⟩ over examples."""
        return sum((p * x.mean(0)).sum() for p, x in zip(self.layers, batch, strict=True))  # pyright: ignore


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    torch.set_num_threads(1)
    tallies = {cause: Tally() for cause in RIGHT}
    quiet_models = 0
    for seed in range(options.seeds):
        quiet_models += _one_run(seed, tallies, options.truth)
        print(seed, {cause: dict(t.remedies) for cause, t in tallies.items()}, file=sys.stderr)
    rows = [_row(cause, tally, options.seeds) for cause, tally in tallies.items()]
    quiet = [cause for cause, right in RIGHT.items() if right == NOTHING]
    false = sum(options.seeds - tallies[cause].right for cause in quiet)
    publish(
        "planted",
        notes=[
            "named %: seeds whose diagnosis has the planted cause, for Gaussian noise nothing; right remedy %: one of",
            "those the script lists. gain, true gain: geometric means over seeds, of the best remedy of a layer.",
            "in interval %: settings of all remedies whose 95% interval holds what new draws show, of that many.",
            f"False recommendations where none is right: {false} of {len(quiet) * options.seeds}. The whole model,",
            f"whose layers have all causes at once, gets none in {quiet_models} of {options.seeds}.",
        ],
        settings={"seeds": options.seeds, "truth draws": options.truth, "CPU seconds": round(time.process_time())},
        columns=COLUMNS,
        rows=rows,
        details={
            "remedies": {cause: dict(t.remedies) for cause, t in tallies.items()},
            "diagnoses": {cause: dict(t.causes) for cause, t in tallies.items()},
        },
        save=not options.quick,
    )


def example_gradients(cause: str, rng: np.random.Generator, fixed: np.random.Generator, count: int) -> np.ndarray:
    """Draw one-example gradients of a layer.

    Args:
        cause: one of :data:`RIGHT`.
        rng: of the examples.
        fixed: of what all examples share; give the same seed each time.
        count: examples.
    """
    gradient = SIGNAL * fixed.standard_normal(SHAPE)
    scales = np.exp(fixed.standard_normal(SHAPE)) if cause == "lognormal" else np.ones(SHAPE)
    noise = NOISE * rng.standard_normal((count, *SHAPE), dtype=np.float32)
    if cause == "cauchy":
        hit = rng.random(noise.shape, dtype=np.float32) < 0.03
        noise[hit] += 3.0 * NOISE * rng.standard_cauchy(np.count_nonzero(hit))
    elif cause == "student":
        noise = NOISE * rng.standard_t(3.0, noise.shape) / np.sqrt(3.0)
    elif cause == "rows":
        noise[:, : SHAPE[0] // 20] *= 3.0
    elif cause == "low rank":
        edge = NOISE * (np.sqrt(SHAPE[0]) + np.sqrt(SHAPE[1]))
        for _ in range(2):
            left, right = (rng.standard_normal((count, side)) for side in SHAPE)
            size = 2.0 * edge * rng.standard_normal(count)
            unit = left[:, :, None] * right[:, None, :] / np.sqrt(SHAPE[0] * SHAPE[1])
            noise += size[:, None, None] * unit
    elif cause == "noisy":
        noise *= 5.0
    each = (gradient + noise) * scales
    if cause == "loud":
        each *= np.where(rng.random((count, 1, 1)) < 0.05, 30.0, 1.0)
    return each


def mean_gradient(cause: str, fixed: np.random.Generator) -> np.ndarray:
    """Compute what is left of :func:`example_gradients` without its noise."""
    gradient = SIGNAL * fixed.standard_normal(SHAPE)
    scales = np.exp(fixed.standard_normal(SHAPE)) if cause == "lognormal" else np.ones(SHAPE)
    return gradient * scales


def true_gains(
    cause: str, seed: int, sample: CoordinateSample, arms: Sequence[Arm], draws: int
) -> dict[tuple[str, str], float]:
    """Run remedies and Adam over new draws at frozen weights, and hold the updates against the known gradient.

    Args:
        cause: that was planted.
        seed: of the run.
        sample: the run's, for the scales that settings are multiples of.
        arms: to be run, beside none.
        draws: how many, after a hundred to fill the moments.
    """
    rng, every = np.random.default_rng([seed, 1]), (NONE, *arms)
    true = mean_gradient(cause, np.random.default_rng(seed)).ravel()
    filling = np.concatenate(list(_draws(cause, rng, seed, 512)))
    curvature = np.median(np.abs(filling), axis=0) / 0.6744897501960817
    first = np.zeros((len(every), true.size))
    second = np.stack([np.square(arm.treat(_gradients(filling, sample, filling))).mean(axis=0) for arm in every])
    along, size = np.zeros(len(every)), np.zeros(len(every))
    seen = 0
    for values in _draws(cause, rng, seed, draws):
        treated = np.stack([arm.treat(_gradients(values, sample, filling)) for arm in every], axis=1)
        for grad in treated:
            first, second = ema(first, grad, BETAS[0]), ema(second, grad * grad, BETAS[1])
            seen += 1
            if seen > 100:
                update = adam_direction(first, second, step=10**6, betas=BETAS)
                along += update @ true
                size += np.square(update) @ curvature
    progress = np.square(along) / size
    return {(arm.remedy, arm.setting): float(x / progress[0]) for arm, x in zip(every, progress, strict=True)}


def _draws(cause: str, rng: np.random.Generator, seed: int, draws: int) -> Iterator[np.ndarray]:
    """Average examples to draws, some at a time."""
    for start in range(0, draws, 64):
        count = min(64, draws - start)
        each = example_gradients(cause, rng, np.random.default_rng(seed), count * EXAMPLES)
        yield each.reshape(count, EXAMPLES, -1).mean(axis=1).astype(np.float64)


def _gradients(values: np.ndarray, sample: CoordinateSample, filling: np.ndarray) -> Gradients:
    """Give new draws the run's own medians, which its settings are multiples of."""
    norms, old = np.linalg.norm(values, axis=1), sample.values.astype(np.float64)
    noise = np.abs(old[0::2] - old[1::2]) / np.sqrt(2.0)
    median, of_model = float(np.median(np.sqrt(sample.draw_sq_norms))), float(np.median(np.sqrt(sample.model_sq_norms)))
    scale = float(np.median(noise[noise > 0.0]))
    return Gradients(values, norms, norms * (of_model / median), median, of_model, scale, filling)


def _one_run(seed: int, tallies: Mapping[str, Tally], truth: int) -> int:
    """Profile one planted model, add to the tallies, and count it where the whole model gets no remedy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.gnoise"
        workload = _workload(list(tallies), seed)
        parameters = trainable_parameters(workload.module)
        info = run_info(
            workload, parameters, source="planted", draws=DRAWS, examples_per_draw=EXAMPLES, seed=seed, command="bench"
        )
        collect_run(workload, parameters, path, info=info)
        analyze(path)
        with open_run(path) as run:
            answers = {each.layer: each for each in run.recommendations}
            for layer, (cause, tally) in zip(run.layers, tallies.items(), strict=True):
                _count(tally, cause, _in_effect(answers, layer.name), _findings(run, layer.name))
                if cause in JUDGED and truth:
                    _judge(tally, cause, seed, run, layer.name, truth)
            return int(answers[None].remedy is Remedy.NONE)


def _workload(causes: Sequence[str], seed: int) -> Workload:
    def batches(examples: int, order: int) -> Iterator[tuple[tuple[torch.Tensor, ...], np.ndarray]]:
        rng, first = np.random.default_rng([seed, order, 0]), 0
        while True:
            each = [example_gradients(cause, rng, np.random.default_rng(seed), examples) for cause in causes]
            yield tuple(torch.tensor(x, dtype=torch.float32) for x in each), np.arange(first, first + examples)
            first += examples

    optimizer: dict[str, JsonValue] = {"name": "AdamW", "betas": [*BETAS]}
    return Workload(Planted(len(causes)), lambda module, batch: module(batch), batches, optimizer=optimizer)


def _findings(run: Run, layer: str) -> Findings:
    estimates = run.estimates
    of = {name: {e.quantity: e for e in estimates if e.layer == name} for name in (x.name for x in run.layers)}
    verdicts = {v.question: v for v in run.verdicts if v.layer == layer}
    evidence = tuple(each for each in run.evidence if each.layer == layer)
    return Findings(run.layer(layer), of[layer], tuple(of.values()), verdicts, evidence)


def _in_effect(answers: Mapping[str | None, Recommendation], layer: str) -> Recommendation:
    """Take the model's recommendation where the layer leaves it to the model."""
    return answers[None if "for the whole model does as much here" in answers[layer].reason else layer]


def _count(tally: Tally, cause: str, answer: Recommendation, findings: Findings) -> None:
    causes = diagnose(findings).causes or ("nothing",)
    tally.named += bool(set(causes) & set(NAMED[cause]))
    tally.causes.update(causes)
    tally.right += str(answer.remedy) in RIGHT[cause]
    tally.remedies[str(answer.remedy) if answer.status is Status.OK else f"no answer: {answer.status}"] += 1


def _judge(tally: Tally, cause: str, seed: int, run: Run, layer: str, draws: int) -> None:
    """Hold the gain of every remedy's setting against the true one."""
    own = [each for each in run.evidence if each.layer == layer and each.gain is not None]
    rungs = [each for each in own if each.role is EvidenceRole.REMEDY]
    wanted = {(each.remedy, each.setting) for each in rungs}
    arms = [arm for arm in ARMS if (arm.remedy, arm.setting) in wanted]
    if not arms:
        return
    truth = true_gains(cause, seed, run.samples(layer).coordinates, arms, draws)
    tally.inside += [_holds(each, truth[each.remedy, each.setting]) for each in rungs]
    best = next(each for each in own if each.role is EvidenceRole.BEST)
    tally.gains.append(float(np.log(best.gain or 1.0)))
    tally.truths.append(float(np.log(truth[best.remedy, best.setting])))


def _holds(evidence: Evidence, truth: float) -> bool:
    """Allow for what the truth's own draws leave open, a twentieth of a percent."""
    if evidence.low is None or evidence.high is None:
        return False
    return evidence.low - _SLACK <= truth <= evidence.high + _SLACK


def _row(cause: str, tally: Tally, seeds: int) -> list[Cell]:
    mean = [float(np.exp(np.mean(x))) if x else None for x in (tally.gains, tally.truths)]
    return [
        cause,
        seeds,
        100.0 * tally.named / seeds,
        100.0 * tally.right / seeds,
        ", ".join(f"{name} {count}" for name, count in tally.remedies.most_common()),
        *mean,
        100.0 * float(np.mean(tally.inside)) if tally.inside else None,
        len(tally.inside),
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--truth", type=int, default=1024, help="new draws behind a true gain; 0 leaves it out")
    parser.add_argument("--quick", action="store_true", help="three seeds, nothing saved")
    options = parser.parse_args()
    if options.quick:
        options.seeds = 3
    return options


if __name__ == "__main__":
    main()
