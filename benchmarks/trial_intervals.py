"""How often a trial's intervals hold the truth, and how often it sees a difference between identical arms.

A small perceptron on scikit-learn's digits is trained from one checkpoint over many hundreds of seeds with each arm,
by the code that trials use; the curves are a bank in which the truth is known well. Trials are drawn from it, no seed
twice in a round, and judged as any trial is: five seeds, twelve, and up to twelve with the rule that ends a trial
early. The identical arm is training without remedy on other seeds, so that it is not the same training; with the same
seeds it would be, bit for bit. In one bank one example in thirty is thirty times as loud, which makes losses of single
trainings heavy-tailed. A bank that is there already is taken from the work folder.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from report import Cell, publish
from torch import Tensor, nn
from torch.nn import functional

from gnoise.collect.workload import Batch, Batches, HeldOut, Workload
from gnoise.export.document import RECOMMENDATIONS_FORMAT, RECOMMENDATIONS_VERSION
from gnoise.records import JsonValue, Status
from gnoise.stats.trial import LARGER, LONGER, MORE_STEPS, NONE, is_settled, judge_arm
from gnoise.trial_records import Trial, TrialCurve, TrialPlan, TrialState
from gnoise.trials.arms import Arm
from gnoise.trials.branch import Branch, weights_of
from gnoise.trials.held_out import split

DIGITS = Path(__file__).resolve().parents[1] / "sample_checkpoints" / "digits-cnn" / "digits.npz"
BANKS = {"quiet examples": 0.0, "one in thirty loud": 1.0 / 30.0}
LOUD, WIDTH, BATCH, STEPS, WARM, RATE, PIXEL_NOISE = 30.0, 32, 8, 60, 100, 3e-3, 0.3
SAME, CLIPPED = "same", "clip_global_norm"
FEW, MANY, EARLY = "5", "12", "5 to 12, ends early"
COLUMNS = ("bank", "arm", "truth", "seeds", "trials", "loss held %", "saving held %", "false alarms %", "seeds used")


class Rates(NamedTuple):
    """Shares of trials, in percent, and seeds a trial took."""

    loss: float
    saving: float | None
    alarms: float | None
    seeds: float
    trials: int


def main() -> None:
    """Fill the banks, draw trials from them and write the table."""
    options = _options()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[list[Cell]] = []
    for name, share in BANKS.items():
        bank = _bank(options.work / f"{name.replace(' ', '-')}.json", share, options.seeds)
        rows += [
            _row(name, bank, arm, way, options.rounds) for arm in (SAME, CLIPPED, LARGER) for way in (FEW, MANY, EARLY)
        ]
    publish(
        "trial_intervals",
        notes=[
            "loss held %: 95% intervals of the difference in final loss that hold the bank's; saving held %: of tokens",
            "saved, that hold the saving the bank's means make; false alarms %: those of the identical arm's saving",
            f"that leave zero out. Final loss is after {STEPS} steps; a bank has {options.seeds} seeds of each arm.",
        ],
        settings={"seeds": options.seeds, "rounds": options.rounds},
        columns=COLUMNS,
        rows=rows,
        save=not options.quick,
    )


class Perceptron(nn.Module):
    """One hidden layer over an image's pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 10))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of images shaped (images, 64)."""
        return self.layers(pixels)


def loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of a batch, its third tensor the examples' weights."""
    assert isinstance(batch, tuple)
    images, labels, weights = batch
    return (weights * functional.cross_entropy(module(images), labels, reduction="none")).mean()


def _supply(part: str, loud: float) -> Batches:
    with np.load(DIGITS, allow_pickle=False) as arrays:
        pixels, labels = arrays[f"{part}_images"].reshape(-1, 64).astype(np.float32) / 16.0, arrays[f"{part}_labels"]

    def batches(examples: int, seed: int) -> Iterator[tuple[Batch, np.ndarray]]:
        rng = np.random.default_rng([seed, part == "test"])
        while True:
            chosen = rng.integers(len(labels), size=examples)
            noise = PIXEL_NOISE * rng.standard_normal((examples, 64), dtype=np.float32)
            weights = np.where(rng.random(examples) < loud, LOUD, 1.0).astype(np.float32)
            batch = (pixels[chosen] + noise, labels[chosen].astype(np.int64), weights)
            yield tuple(torch.from_numpy(x) for x in batch), chosen

    return batches


def _bank(file: Path, loud: float, seeds: int) -> dict[str, list[TrialCurve]]:
    """Train every arm over all seeds from one checkpoint, or read what was trained before."""
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if len(kept[NONE]) == seeds:
            return {arm: [_curve(arm, seed, x) for seed, x in enumerate(losses, 1)] for arm, losses in kept.items()}
    torch.manual_seed(0)
    module = Perceptron()
    workload = Workload(module, loss, _supply("train", loud), held_out=HeldOut("digits", 256, _supply("test", 0.0)))
    settings: dict[str, JsonValue] = {
        "name": "AdamW",
        "lr": RATE,
        "betas": [0.9, 0.95],
        "eps": 1e-8,
        "momentum": 0.0,
        "weight_decay": 0.0,
    }
    branch = Branch(workload, split(workload, batch_size=256, most=256), {}, settings, False, BATCH, WARM, STEPS)
    branch = replace(branch, weights=weights_of(module))
    branch.train(Arm(NONE), seed=0, lr=RATE, on_step=lambda *_: None)
    branch = replace(branch, weights=weights_of(module), steps=STEPS)
    clip: JsonValue = {"layer": None, "remedy": CLIPPED, "params": {CLIPPED: 0.5}, "status": str(Status.OK)}
    document: dict[str, JsonValue] = {
        "format": RECOMMENDATIONS_FORMAT,
        "version": RECOMMENDATIONS_VERSION,
        "recommendations": [clip],
    }
    arms = (Arm(NONE), Arm(CLIPPED, document), Arm(LONGER, steps=1.0 + MORE_STEPS), Arm(LARGER, batches=2))
    bank: dict[str, list[TrialCurve]] = {arm.name: [] for arm in arms}
    for seed in range(1, seeds + 1):
        for arm in arms:
            bank[arm.name].append(branch.train(arm, seed=seed, lr=RATE, on_step=lambda *_: None))
        if seed % 50 == 0:
            print(file.stem, seed, file=sys.stderr, flush=True)
    file.write_text(json.dumps({arm: [c.loss[-1] for c in curves] for arm, curves in bank.items()}), encoding="utf-8")
    return bank


def _curve(arm: str, seed: int, end: float) -> TrialCurve:
    return TrialCurve(arm, seed, RATE, (0, STEPS * BATCH), (end, end), 0, 1.0, Status.OK)


def _row(name: str, bank: Mapping[str, list[TrialCurve]], arm: str, way: str, rounds: int) -> list[Cell]:
    means = {key: float(np.mean([c.loss[-1] for c in curves])) for key, curves in bank.items()}
    means[SAME] = means[NONE]
    worth = MORE_STEPS * (means[NONE] - means[arm]) / (means[NONE] - means[LONGER])
    saving = 1.0 - (2.0 if arm == LARGER else 1.0) / (1.0 + worth)
    found = _rates(bank, arm, way, rounds, means[arm] - means[NONE], saving)
    return [name, arm, saving, way, found.trials, found.loss, found.saving, found.alarms, found.seeds]


def _rates(
    bank: Mapping[str, list[TrialCurve]], arm: str, way: str, rounds: int, difference: float, saving: float
) -> Rates:
    size = 5 if way == FEW else 12
    drawn = 2 * size if arm == SAME else size
    rng = np.random.default_rng(1)
    losses, savings, alarms, used = [], [], [], []
    for _ in range(rounds):
        order = rng.permutation(len(bank[NONE]))
        for start in range(0, len(order) - drawn + 1, drawn):
            trial = _trial(bank, arm, order[start : start + drawn], size, early=way == EARLY)
            result = judge_arm(trial, arm)
            assert result.difference_low is not None
            assert result.difference_high is not None
            losses.append(result.difference_low <= difference <= result.difference_high)
            used.append(result.seeds)
            if result.low is not None and result.high is not None:
                savings.append(result.low <= saving <= result.high)
                alarms.append(not result.low <= 0.0 <= result.high)
    return Rates(
        100.0 * float(np.mean(losses)),
        100.0 * float(np.mean(savings)) if savings else None,
        100.0 * float(np.mean(alarms)) if alarms and arm == SAME else None,
        float(np.mean(used)),
        len(losses),
    )


def _trial(bank: Mapping[str, list[TrialCurve]], arm: str, chosen: np.ndarray, size: int, *, early: bool) -> Trial:
    """Put a trial together; under the early rule it ends where a real one would."""
    plan = _plan((NONE, arm, LONGER, *([LARGER] if arm != LARGER else [])))
    curves: list[TrialCurve] = []
    trial = Trial(1, plan, (), TrialState.RUNNING, "")
    for seed in range(size):
        place = int(chosen[seed])
        sources = {name: (name, place) for name in (NONE, LONGER, LARGER, CLIPPED)}
        sources[SAME] = (NONE, int(chosen[-1 - seed]))
        curves += [replace(bank[sources[a][0]][sources[a][1]], arm=a, seed=seed) for a in plan.arms]
        trial = replace(trial, curves=tuple(curves))
        if early and is_settled(trial):
            break
    return trial


def _plan(arms: tuple[str, ...]) -> TrialPlan:
    return TrialPlan(
        source="", references={}, arms=arms, predicted={}, seeds=tuple(range(12)), steps=STEPS, batch_size=BATCH,
        learning_rate=RATE, multiples=(1.0,), evaluate_every=STEPS, held_out_examples=256, optimizer={},
        with_state=False, device="cpu", dtype="float32", budget=None, request={},
    )  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/trial_intervals"), help="folder of the banks")
    parser.add_argument("--seeds", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=10, help="times all seeds are dealt into trials")
    parser.add_argument("--quick", action="store_true", help="60 seeds, nothing saved")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.work = 60, options.work / "quick"
    return options


if __name__ == "__main__":
    main()
