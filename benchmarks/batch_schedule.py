"""What a batch schedule that follows the noise scale saves in training, against fixed batches.

The recipe of `sample_checkpoints/make_samples.py`, shortened: the same model, data, optimizer and clipping, and warm-up
over the same number of tokens. Each arm's learning rate, constant after that, is tuned on a seed that is not counted.
Arms of one seed start from the same weights and see the same examples in the same order. The schedule is drawn through
the noise scales of gpt-docs' three moments, which are profiled first. Every finished training leaves its curve in the
work folder; started again, the benchmark goes on from there.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from report import Cell, publish
from torch import nn

import gnoise
from gnoise.export import BatchSchedule, batch_schedule, schedule_document
from gnoise.remedies import NoiseScaleBatchSchedule
from gnoise.stats.intervals import t_interval

SAMPLES = Path(__file__).resolve().parents[1] / "sample_checkpoints"
sys.path.insert(0, str(SAMPLES))

from make_samples import (  # noqa: E402  (the recipe is a script beside, not a package)
    BATCH_SIZE,
    GPT_DOCS,
    GRAD_CLIP,
    LEARNING_RATE,
    SEED,
    WARMUP_STEPS,
    WINDOW,
    batches,
    make_gpt,
    make_optimizer,
    mean_loss,
    read_tokens,
)

MOMENTS = {"early": GPT_DOCS / "early", "middle": GPT_DOCS / "middle", "late": GPT_DOCS}
MICRO_BATCH = 8
EVALUATE_EVERY = 61_440
WARMUP_TOKENS = WARMUP_STEPS * BATCH_SIZE * WINDOW
SCHEDULE, LARGE, EVEN = "schedule", "fixed, as large as the schedule ends", "fixed, in as many steps as the schedule"
COLUMNS = (
    "against",
    "rates",
    "at validation loss",
    "tokens",
    "tokens saved",
    "low",
    "high",
    "CPU seconds",
    "time saved",
    "time low",
    "time high",
    "steps",
    "steps' change",
)
TUNING_SEED = SEED - 1
_FARTHEST = 6


@dataclass(frozen=True)
class Curve:
    """One training: tokens, steps and CPU seconds behind it and the validation loss there, in nats per token.

    Seconds are of training alone; evaluations are not counted.
    """

    tokens: list[int]
    steps: list[int]
    seconds: list[float]
    loss: list[float]

    def when(self, loss: float) -> np.ndarray:
        """Return tokens, steps and seconds when the loss was first reached, straight lines between evaluations."""
        spent = np.array([self.tokens, self.steps, self.seconds], dtype=float)
        reached = next(i for i, value in enumerate(self.loss) if value <= loss)
        if reached == 0:
            return spent[:, 0]
        part = (self.loss[reached - 1] - loss) / (self.loss[reached - 1] - self.loss[reached])
        return spent[:, reached - 1] + part * (spent[:, reached] - spent[:, reached - 1])


def main() -> None:
    """Measure, train and write the table."""
    options = _options()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    measured = _measure(options.work)
    arms = _arms(measured, options.tokens)
    rates, curves = dict[str, float](), dict[str, dict[str, Curve]]()
    for fixed in (LARGE, EVEN):
        for arm in (SCHEDULE, fixed):
            rates[arm] = _tuned(options.work, arm, arms[arm], options.tokens)
        for seed in range(SEED, SEED + options.seeds):
            for arm in (SCHEDULE, fixed):
                curve = _trained(options.work, arm, seed, rates[arm], arms[arm], options.tokens)
                curves.setdefault(arm, {})[str(seed)] = curve
        _publish(options, measured, arms, rates, curves)


def _publish(
    options: argparse.Namespace,
    measured: Sequence[tuple[float, float]],
    arms: Mapping[str, BatchSchedule],
    rates: Mapping[str, float],
    curves: Mapping[str, Mapping[str, Curve]],
) -> None:
    """Write the table of the fixed batches trained with so far."""
    publish(
        "batch_schedule",
        notes=[
            f"gpt-docs recipe, {options.tokens:,} tokens of it, every arm at its own best constant learning rate on a "
            "seed",
            f"that is not counted; {options.seeds} paired seeds.",
            "noise scales measured: " + ", ".join(f"{b:.1f} after {t:,.0f} tokens" for t, b in measured),
            "batches of "
            + "; ".join(f"{_batches(arms[arm], options.tokens)} sequences ({arm})" for arm in curves)
            + ".",
            "rates, tokens, CPU seconds of one thread (without evaluations) and steps: of the schedule / of the",
            "fixed batch, when they reach the worse of their two final validation losses; share saved with a 95%",
            "interval over seeds (Student's t); negative is loss, not gain.",
        ],
        settings={"seeds": options.seeds, "tokens": options.tokens, "micro batch": MICRO_BATCH},
        columns=COLUMNS,
        rows=[
            _row(curves[SCHEDULE], curves[arm], arm, f"{rates[SCHEDULE]:g} / {rates[arm]:g}")
            for arm in curves
            if arm != SCHEDULE
        ],
        details={
            "schedule": schedule_document(arms[SCHEDULE]),
            "learning rates": dict(rates),
            "curves": {arm: {s: vars(curve) for s, curve in found.items()} for arm, found in curves.items()},
        },
        save=not options.quick,
    )


def _measure(work: Path) -> list[tuple[float, float]]:
    """Return tokens trained on and noise scale of each moment, from runs profiled once."""
    found: list[tuple[float, float]] = []
    for name, source in MOMENTS.items():
        path = work / f"{name}.gnoise"
        data = str(GPT_DOCS / "train.bin")
        run = gnoise.open_run(path) if path.exists() else gnoise.profile(source, path, data=data, batch_size=BATCH_SIZE)
        with run:
            scale = next(e.value for e in run.estimates if e.layer is None and e.quantity == "b_simple")
            trained = run.info.examples_trained
        if scale is None or trained is None:
            raise SystemExit(f"expected a noise scale and an iteration in {path}; try more draws")
        found.append((float(trained * WINDOW), scale))
    return found


def _arms(measured: Sequence[tuple[float, float]], tokens: int) -> dict[str, BatchSchedule]:
    """Build the schedule, and fixed batches as large as its last one and in as many steps as it takes."""
    moments, scales = zip(*measured, strict=True)
    full = batch_schedule(moments, scales, lowest=MICRO_BATCH, highest=max(scales), tokens_per_example=WINDOW)
    steps, largest = _walk(full, tokens)
    even = MICRO_BATCH * round(tokens / WINDOW / steps / MICRO_BATCH)
    return {SCHEDULE: full, LARGE: _fixed(largest), EVEN: _fixed(even)}


def _fixed(examples: int) -> BatchSchedule:
    return BatchSchedule((0.0,), (float(examples),), WINDOW)


def _walk(schedule: BatchSchedule, tokens: int) -> tuple[int, int]:
    """Count the steps of a training, and find its largest batch."""
    keeper, steps = NoiseScaleBatchSchedule(schedule, micro_batch=MICRO_BATCH), 0
    largest = keeper.examples
    while keeper.tokens < tokens:
        largest, steps = keeper.examples, steps + 1
        keeper.step()
    return steps, largest


def _batches(schedule: BatchSchedule, tokens: int) -> str:
    first, last = NoiseScaleBatchSchedule(schedule, micro_batch=MICRO_BATCH).examples, _walk(schedule, tokens)[1]
    return str(first) if first == last else f"{first} to {last}"


def _tuned(work: Path, arm: str, schedule: BatchSchedule, tokens: int) -> float:
    """Choose an arm's learning rate: half the recipe's, the same, double, and on past an edge that wins."""
    final = {
        rate: _trained(work, arm, TUNING_SEED, rate, schedule, tokens).loss[-1]
        for rate in (LEARNING_RATE / 2.0, LEARNING_RATE, LEARNING_RATE * 2.0)
    }
    while len(final) < _FARTHEST:
        best = min(final, key=lambda rate: final[rate])
        if min(final) < best < max(final):
            break
        beyond = best / 2.0 if best == min(final) else best * 2.0
        final[beyond] = _trained(work, arm, TUNING_SEED, beyond, schedule, tokens).loss[-1]
    return min(final, key=lambda rate: final[rate])


def _trained(work: Path, arm: str, seed: int, rate: float, schedule: BatchSchedule, tokens: int) -> Curve:
    """Read a curve from the work folder, or train for it."""
    path = work / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}-{rate:g}-{tokens}.json"
    if not path.exists():
        said = f"{arm}, seed {seed}, rate {rate:g}"
        curve = _train(seed, rate, schedule, tokens, lambda line: print(f"{said}: {line}", flush=True))
        path.write_text(json.dumps(vars(curve)) + "\n", encoding="utf-8")
    return Curve(**json.loads(path.read_text(encoding="utf-8")))


def _train(seed: int, rate: float, schedule: BatchSchedule, tokens: int, log: Callable[[str], None]) -> Curve:
    """Train from scratch, evaluating at fixed numbers of tokens."""
    train_tokens, val_tokens = read_tokens(GPT_DOCS / "train.bin"), read_tokens(GPT_DOCS / "val.bin")
    torch.manual_seed(seed)
    model, loss_of = make_gpt()
    optimizer = make_optimizer(model)
    stream = batches(train_tokens, seed, MICRO_BATCH)
    keeper, curve, steps = NoiseScaleBatchSchedule(schedule, micro_batch=MICRO_BATCH), Curve([], [], [], []), 0
    spent = 0.0
    while keeper.tokens < tokens:
        started = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (keeper.tokens + keeper.examples * WINDOW) / WARMUP_TOKENS)
        for _ in range(keeper.accumulation_steps):
            (loss_of(*next(stream)) / keeper.accumulation_steps).backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        spent += time.process_time() - started
        before = keeper.tokens
        keeper.step()
        steps += 1
        if keeper.tokens // EVALUATE_EVERY > before // EVALUATE_EVERY or keeper.tokens >= tokens:
            curve.tokens.append(keeper.tokens)
            curve.steps.append(steps)
            curve.seconds.append(spent)
            curve.loss.append(mean_loss(loss_of, val_tokens))
            log(f"{keeper.tokens} tokens, {steps} steps, batch {keeper.examples}, validation {curve.loss[-1]:.4f}")
    return curve


def _row(ours: Mapping[str, Curve], theirs: Mapping[str, Curve], arm: str, rates: str) -> Sequence[Cell]:
    """Compare the schedule with one fixed batch at the worse of each pair's final losses."""
    targets = {seed: max(min(ours[seed].loss), min(theirs[seed].loss)) for seed in ours}
    spent = np.array([[ours[seed].when(loss), theirs[seed].when(loss)] for seed, loss in targets.items()])
    tokens, steps, seconds = (f"{a:,.0f} / {b:,.0f}" for a, b in spent.mean(0).T)
    saved_tokens, saved_steps, saved_seconds = (1.0 - spent[:, 0] / spent[:, 1]).T
    return (
        arm,
        rates,
        math.fsum(targets.values()) / len(targets),
        tokens,
        *_interval(saved_tokens),
        seconds,
        *_interval(saved_seconds),
        steps,
        _percent(-float(saved_steps.mean())),
    )


def _interval(shares: np.ndarray) -> tuple[str, str, str]:
    found = t_interval(float(shares.mean()), float(shares.std(ddof=1)) / math.sqrt(shares.size), shares.size - 1)
    return _percent(found.value), _percent(found.low), _percent(found.high)


def _percent(share: float) -> str:
    return f"{100.0 * share:+.1f}%"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds, at least two (5)")
    parser.add_argument("--tokens", type=int, default=300 * BATCH_SIZE * WINDOW, help="of each training (614,400)")
    parser.add_argument("--work", type=Path, default=Path("runs/batch_schedule"), help="where runs and curves are kept")
    parser.add_argument("--quick", action="store_true", help="two seeds of 32,768 tokens, nothing published")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.tokens = 2, 32_768
    return options


if __name__ == "__main__":
    main()
