"""What a batch schedule that follows the noise scale saves in training, against fixed batches.

The recipe of `sample_checkpoints/make_samples.py`, shortened: the same model, data, optimizer, learning rate and
clipping, and warm-up over the same number of tokens. Arms of one seed start from the same weights and see the same
examples in the same order, so that they differ in batch size alone. The schedule is drawn through the noise scales of
gpt-docs' three moments, which are profiled first. Every finished training leaves its curve in the work folder;
started again, the benchmark goes on from there.
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
COLUMNS = ("against", "at validation loss", "tokens", "tokens saved", "low", "high", "steps", "steps' change")


@dataclass(frozen=True)
class Curve:
    """One training: tokens and steps behind it and the validation loss there, in nats per token."""

    tokens: list[int]
    steps: list[int]
    loss: list[float]

    def when(self, loss: float) -> tuple[float, float]:
        """Return tokens and steps at which the loss was first reached, straight lines between evaluations."""
        reached = next(i for i, value in enumerate(self.loss) if value <= loss)
        if reached == 0:
            return float(self.tokens[0]), float(self.steps[0])
        part = (self.loss[reached - 1] - loss) / (self.loss[reached - 1] - self.loss[reached])
        tokens, steps = ([x[reached - 1], x[reached]] for x in (self.tokens, self.steps))
        return tokens[0] + part * (tokens[1] - tokens[0]), steps[0] + part * (steps[1] - steps[0])


def main() -> None:
    """Measure, train and write the table."""
    options = _options()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    measured = _measure(options.work)
    arms = _arms(measured, options.tokens)
    curves: dict[str, dict[str, Curve]] = {}
    for fixed in (LARGE, EVEN):
        for seed in range(SEED, SEED + options.seeds):
            for arm in (SCHEDULE, fixed):
                curve = _trained(options.work, arm, seed, arms[arm], options.tokens)
                curves.setdefault(arm, {})[str(seed)] = curve
        _publish(options, measured, arms, curves)


def _publish(
    options: argparse.Namespace,
    measured: Sequence[tuple[float, float]],
    arms: Mapping[str, BatchSchedule],
    curves: Mapping[str, Mapping[str, Curve]],
) -> None:
    """Write the table of the fixed batches trained with so far."""
    publish(
        "batch_schedule",
        notes=[
            f"gpt-docs recipe at an unchanged learning rate of {LEARNING_RATE}, {options.tokens:,} tokens of it; "
            f"{options.seeds} paired seeds.",
            "noise scales measured: " + ", ".join(f"{b:.1f} after {t:,.0f} tokens" for t, b in measured),
            "batches of "
            + "; ".join(f"{_batches(arms[arm], options.tokens)} sequences ({arm})" for arm in curves)
            + ".",
            "Tokens and steps at which the schedule reaches the worse of two final validation losses, against the",
            "fixed batch; share saved with a 95% interval over seeds (Student's t); negative is loss, not gain.",
        ],
        settings={"seeds": options.seeds, "tokens": options.tokens, "micro batch": MICRO_BATCH},
        columns=COLUMNS,
        rows=[_row(curves[SCHEDULE], curves[arm], arm) for arm in curves if arm != SCHEDULE],
        details={
            "schedule": schedule_document(arms[SCHEDULE]),
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


def _trained(work: Path, arm: str, seed: int, schedule: BatchSchedule, tokens: int) -> Curve:
    """Read a curve from the work folder, or train for it."""
    path = work / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}-{tokens}.json"
    if not path.exists():
        started = time.process_time()
        curve = _train(seed, schedule, tokens, lambda line: print(f"{arm}, seed {seed}: {line}", flush=True))
        path.write_text(json.dumps({**vars(curve), "cpu_seconds": time.process_time() - started}) + "\n")
    saved = json.loads(path.read_text())
    return Curve(saved["tokens"], saved["steps"], saved["loss"])


def _train(seed: int, schedule: BatchSchedule, tokens: int, log: Callable[[str], None]) -> Curve:
    """Train from scratch, evaluating at fixed numbers of tokens."""
    train_tokens, val_tokens = read_tokens(GPT_DOCS / "train.bin"), read_tokens(GPT_DOCS / "val.bin")
    torch.manual_seed(seed)
    model, loss_of = make_gpt()
    optimizer = make_optimizer(model)
    stream = batches(train_tokens, seed, MICRO_BATCH)
    keeper, curve, steps = NoiseScaleBatchSchedule(schedule, micro_batch=MICRO_BATCH), Curve([], [], []), 0
    while keeper.tokens < tokens:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (keeper.tokens + keeper.examples * WINDOW) / WARMUP_TOKENS)
        for _ in range(keeper.accumulation_steps):
            (loss_of(*next(stream)) / keeper.accumulation_steps).backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        before = keeper.tokens
        keeper.step()
        steps += 1
        if keeper.tokens // EVALUATE_EVERY > before // EVALUATE_EVERY or keeper.tokens >= tokens:
            curve.tokens.append(keeper.tokens)
            curve.steps.append(steps)
            curve.loss.append(mean_loss(loss_of, val_tokens))
            log(f"{keeper.tokens} tokens, {steps} steps, batch {keeper.examples}, validation {curve.loss[-1]:.4f}")
    return curve


def _row(ours: Mapping[str, Curve], theirs: Mapping[str, Curve], arm: str) -> Sequence[Cell]:
    """Compare the schedule with one fixed batch at the worse of each pair's final losses."""
    targets = {seed: max(min(ours[seed].loss), min(theirs[seed].loss)) for seed in ours}
    pairs = [(ours[seed].when(loss), theirs[seed].when(loss)) for seed, loss in targets.items()]
    saved = np.array([1.0 - a[0] / b[0] for a, b in pairs])
    steps = np.array([a[1] / b[1] - 1.0 for a, b in pairs])
    interval = t_interval(float(saved.mean()), float(saved.std(ddof=1)) / math.sqrt(saved.size), saved.size - 1)
    return (
        arm,
        math.fsum(targets.values()) / len(targets),
        f"{np.mean([a[0] for a, _ in pairs]):,.0f} / {np.mean([b[0] for _, b in pairs]):,.0f}",
        _percent(interval.value),
        _percent(interval.low),
        _percent(interval.high),
        f"{np.mean([a[1] for a, _ in pairs]):.0f} / {np.mean([b[1] for _, b in pairs]):.0f}",
        _percent(float(steps.mean())),
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:+.1f}%"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="paired seeds, at least two (3)")
    parser.add_argument("--tokens", type=int, default=300 * BATCH_SIZE * WINDOW, help="of each training (614,400)")
    parser.add_argument("--work", type=Path, default=Path("runs/batch_schedule"), help="where runs and curves are kept")
    parser.add_argument("--quick", action="store_true", help="two seeds of 32,768 tokens, nothing published")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.tokens = 2, 32_768
    return options


if __name__ == "__main__":
    main()
