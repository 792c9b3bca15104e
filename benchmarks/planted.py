"""Noise with a known cause: is it named, and is the right remedy recommended.

A model's layers each have one cause planted (40 × 48 entries, gradient 0.3 an entry in noise of size 2, 8 examples a
draw, 64 draws, AdamW with betas 0.9, 0.95); it is profiled and analysed as any checkpoint is. The documented strength
is the one below; others halve and double what is planted, give layers other shapes, or plant the noise in a real
network: eight hidden layers of a residual net that fits sines, whose own gradients and noise stay. What
counts as right, after a first look at three seeds:

- ``equal``, ``lognormal``: Gaussian noise, scales of entries equal or lognormal: no remedy. That lognormal scales put
  the noise in single entries is a fair thing to say.
- ``cauchy``: 3% of the entries of an example carry Cauchy noise as well: ``clip`` or ``shrink``.
- ``student``: Student-t noise with 3 degrees of freedom: what pays may be recommended, a bound on norms may not; eight
  examples average most of it away, so that it may go unnamed.
- ``loud``: one example in twenty is thirty times as loud: a bound on the norm.
- ``rows``: one row in twenty is three times as loud: no remedy.
- ``low rank``: two directions with singular values twice the edge of the bulk, new in each example: no remedy.
- ``noisy``: noise of the whole layer five times as large: ``layerwise_lr``, or none, because what a layer's rate would
  buy is what trials bore out least.
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
from gnoise.records import JsonValue, Recommendation, Remedy, Status
from gnoise.rules import Findings, diagnose
from gnoise.runfile import Run, open_run
from gnoise.runfile.analyze import analyze

EXAMPLES, DRAWS, BETAS = 8, 64, (0.9, 0.95)
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
    "noisy": ("none", "layerwise_lr"),
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
OF_MATRICES = ("rows", "low rank")
COLUMNS = ("where", "planted", "seeds", "named %", "right remedy %", "diagnoses", "recommended", "gain", "low", "high")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Where and how strongly causes are planted.

    Attributes:
        strength: of what is planted, 1 as documented.
        shape: of every layer.
        real: whether in the layers of a network that has gradients and noise of its own.
        documented: whether it is what shares are promised of; others have fewer seeds.
    """

    strength: float = 1.0
    shape: Shape = (40, 48)
    real: bool = False
    documented: bool = False


SETTINGS = {
    "as documented": Setting(documented=True),
    "half as strong": Setting(strength=0.5),
    "twice as strong": Setting(strength=2.0),
    "16 × 120 entries": Setting(shape=(16, 120)),
    "1,920 in a row": Setting(shape=(1920,)),
    "a real network": Setting(shape=(44, 44), real=True),
}


@dataclass
class Tally:
    """What came of one cause over all seeds."""

    named: int = 0
    right: int = 0
    remedies: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    gains: list[tuple[float, float, float]] = field(default_factory=list)


class Planted(nn.Module):
    """A module whose gradient of one example is whatever the example holds; of a real network, that and its own."""

    def __init__(self, layers: int, setting: Setting) -> None:
        super().__init__()
        self.real = setting.real
        start = [0.1 * torch.randn(setting.shape) if self.real else torch.zeros(setting.shape) for _ in range(layers)]
        self.layers = nn.ParameterList([nn.Parameter(x) for x in start])

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean of ⟨parameter, planted gradient⟩ over examples, and of a real network's own loss."""
        *planted, inputs, targets = batch
        loss = torch.stack([(p * x.mean(0)).sum() for p, x in zip(self.layers, planted, strict=True)]).sum()
        if not self.real:
            return loss
        hidden = inputs
        for weight in self.layers:
            hidden = hidden + torch.tanh(hidden @ weight)
        return loss + (hidden - targets).square().mean()


def main() -> None:
    """Run the study and write its table."""
    options = _options()
    torch.set_num_threads(1)
    quiet = {cause for cause, right in RIGHT.items() if right == NOTHING}
    rows: list[list[Cell]] = []
    details: dict[str, object] = {}
    false, looked, quiet_models = 0, 0, 0
    for name, setting in SETTINGS.items():
        seeds = options.seeds if setting.documented else options.others
        tallies = {cause: Tally() for cause in RIGHT if len(setting.shape) > 1 or cause not in OF_MATRICES}
        for seed in range(seeds):
            alone = _one_run(seed, tallies, setting)
            quiet_models += alone if setting.documented else 0
        print(name, {cause: dict(t.remedies) for cause, t in tallies.items()}, file=sys.stderr)
        rows += [[name, *_row(cause, tally, seeds)] for cause, tally in tallies.items()]
        false += sum(seeds - tally.right for cause, tally in tallies.items() if cause in quiet)
        looked += seeds * len(quiet & tallies.keys())
        details[name] = {
            cause: {"remedies": dict(t.remedies), "diagnoses": dict(t.causes)} for cause, t in tallies.items()
        }
    publish(
        "planted",
        notes=[
            "named %: seeds whose diagnosis has the planted cause, for Gaussian noise nothing; right remedy %: one of",
            "those the script lists. gain, low, high: of what is recommended, geometric means over seeds; that of",
            "layerwise_lr is the whole model's; a dash for high: bounds, if in some seeds only. How true gains are:",
            "evidence_gains.py.",
            "diagnoses: how often each cause is named; of several at once each counts.",
            f"False recommendations where none is right: {false} of {looked}. The whole model as documented,",
            f"whose layers have all causes at once, gets none in {quiet_models} of {options.seeds}.",
        ],
        settings={"seeds": options.seeds, "CPU seconds": round(time.process_time())},
        columns=COLUMNS,
        rows=rows,
        details=details,
        save=not options.quick,
    )


def example_gradients(
    cause: str, rng: np.random.Generator, fixed: np.random.Generator, count: int, setting: Setting
) -> np.ndarray:
    """Draw one-example gradients of a layer.

    Args:
        cause: one of :data:`RIGHT`.
        rng: of the examples.
        fixed: of what all examples share; give the same seed each time.
        count: examples.
        setting: strength and shape. A strength multiplies the size of Cauchy entries, of loud examples, rows and layers
            and of singular values, and the standard deviation of lognormal scales' logarithm.
    """
    shape, strength = setting.shape, setting.strength
    lines = shape if len(shape) > 1 else (1, *shape)
    gradient = SIGNAL * fixed.standard_normal(shape)
    scales = np.exp(strength * fixed.standard_normal(shape)) if cause == "lognormal" else np.ones(shape)
    noise = NOISE * rng.standard_normal((count, *shape), dtype=np.float32)
    if cause == "cauchy":
        hit = rng.random(noise.shape, dtype=np.float32) < 0.03
        noise[hit] += 3.0 * strength * NOISE * rng.standard_cauchy(np.count_nonzero(hit))
    elif cause == "student":
        noise = NOISE * rng.standard_t(3.0, noise.shape) / np.sqrt(3.0)
    elif cause == "rows":
        noise[:, : max(1, shape[0] // 20)] *= 1.0 + 2.0 * strength
    elif cause == "low rank":
        edge = NOISE * (np.sqrt(lines[0]) + np.sqrt(lines[1]))
        for _ in range(2):
            left, right = (rng.standard_normal((count, side)) for side in lines)
            size = 2.0 * strength * edge * rng.standard_normal(count)
            unit = left[:, :, None] * right[:, None, :] / np.sqrt(lines[0] * lines[1])
            noise += (size[:, None, None] * unit).reshape(noise.shape)
    elif cause == "noisy":
        noise *= 1.0 + 4.0 * strength
    each = (gradient + noise) * scales
    if cause == "loud":
        each *= np.where(rng.random((count, *[1] * len(shape))) < 0.05, 30.0 * strength, 1.0)
    return each


def _one_run(seed: int, tallies: Mapping[str, Tally], setting: Setting) -> int:
    """Profile one planted model, add to the tallies, and count it where the whole model gets no remedy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.gnoise"
        workload = _workload(list(tallies), seed, setting)
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
            return int(answers[None].remedy is Remedy.NONE)


def _workload(causes: Sequence[str], seed: int, setting: Setting) -> Workload:
    def batches(examples: int, order: int) -> Iterator[tuple[tuple[torch.Tensor, ...], np.ndarray]]:
        rng, first = np.random.default_rng([seed, order, 0]), 0
        while True:
            each = [example_gradients(cause, rng, np.random.default_rng(seed), examples, setting) for cause in causes]
            inputs = rng.standard_normal((examples, setting.shape[0]))
            each += [inputs, np.sin(3.0 * inputs)[:, ::-1].copy()]
            yield tuple(torch.tensor(x, dtype=torch.float32) for x in each), np.arange(first, first + examples)
            first += examples

    optimizer: dict[str, JsonValue] = {"name": "AdamW", "betas": [*BETAS]}
    torch.manual_seed(seed)
    return Workload(Planted(len(causes), setting), lambda module, batch: module(batch), batches, optimizer=optimizer)


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
    if answer.gain is not None and answer.gain_low is not None:
        high = answer.gain_high if answer.gain_high is not None else float("inf")
        tally.gains.append((answer.gain, answer.gain_low, high))
    tally.remedies[str(answer.remedy) if answer.status is Status.OK else f"no answer: {answer.status}"] += 1


def _row(cause: str, tally: Tally, seeds: int) -> list[Cell]:
    means = [float(np.exp(np.log(x).mean())) for x in zip(*tally.gains, strict=True)] or [None, None, None]
    means = [x if x is not None and np.isfinite(x) else None for x in means]  # a bound has no upper end
    return [
        cause,
        seeds,
        100.0 * tally.named / seeds,
        100.0 * tally.right / seeds,
        ", ".join(f"{name} {count}" for name, count in tally.causes.most_common()),
        ", ".join(f"{name} {count}" for name, count in tally.remedies.most_common()),
        *means,
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--others", type=int, default=20, help="seeds of each setting that is not the documented one")
    parser.add_argument("--quick", action="store_true", help="three seeds, one of other settings, nothing saved")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.others = 3, 1
    return options


if __name__ == "__main__":
    main()
