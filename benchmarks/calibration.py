"""Predicted against measured: what evidence promises of every remedy, and what training with it turns out to be worth.

At early, middle and late moments of three trainings (`calibration_trainings.py`) the checkpoint is profiled twice, at
frozen weights and along a path of 64 steps, and a trial trains it on with each remedy, paired over
seeds. An arm is one setting of one remedy in all layers, the very one that the prediction is of. Every profile and
every training that has ended stays in the work folder; started again, the benchmark goes on from there.

    .venv/bin/python benchmarks/calibration.py                    # about an hour and a half on one free core
    .venv/bin/python benchmarks/calibration.py --only vit         # one training; the others as they are in the folder
    .venv/bin/python benchmarks/calibration.py --publish          # the table of what there is
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from calibration_table import Point, agreement, agreement_words, points_of
from calibration_trainings import MOMENTS, TRAININGS, Training
from jaxtyping import Bool
from report import RESULTS, Cell, publish

import gnoise
from gnoise.export.document import RECOMMENDATIONS_FORMAT, RECOMMENDATIONS_VERSION
from gnoise.records import Evidence, EvidenceRole, Status
from gnoise.runfile import Run
from gnoise.stats.evidence import (
    ARMS,
    Progress,
    add_progress,
    measure_along,
    measure_progress,
    setting_gains,
    simulated_optimizer,
)
from gnoise.stats.trial import LARGER, NONE, final_losses, judge_trial
from gnoise.trial_records import Trial, TrialCurve
from gnoise.trials import trial

DRAWS, PATH, FEWEST = 128, 64, 3
COLUMNS = ("checkpoint", "arm", "predicted, frozen", "predicted, path", "measured")
SETTINGS = {
    "clip 2v": ("clip", "clip at 2 √v"),
    "clip 3m": ("clip", "clip at 3 median |noise|"),
    "rational 4m": ("shrink", "rational at 4 median |noise|"),
    "global 1m": ("clip_global_norm", "1 median ‖g‖"),
    "stabilize": ("stabilize", "gammas 0.6, 0.999"),
}
"""Arms whose setting is the same in all layers, and how evidence calls it."""
Rows = dict[str, tuple[str | None, str, str]]
"""By arm: layer, remedy and setting of the evidence behind it."""
BY_LAYER = ("clip 3m", "rational 4m")
TOLD = 1.5
"""A gain whose interval reaches farther, as a factor, says next to nothing."""
WORST_RATE = "worst rate"
"""One layer's learning rate lowered, where evidence says that it costs most."""


def main() -> None:
    """Collect what is missing, then publish."""
    options = _options()
    torch.set_num_threads(1)
    for training in TRAININGS:
        if options.publish or (options.only and training.name not in options.only):
            continue
        for moment in options.moments:
            work = options.work / training.name
            run_trial(training, moment, work, seeds=options.seeds, steps=options.steps)
            if not options.trials:
                profiled(training, moment, work, path=PATH)
    cells = _published()
    for training in TRAININGS:
        for moment in MOMENTS:
            found = cell(training, moment, options.work / training.name)
            if found is not None:
                cells[training.name, moment] = found
    order = [(training.name, moment) for training in TRAININGS for moment in MOMENTS]
    _publish([cells[key] for key in order if key in cells], save=options.steps is None)


def _published() -> dict[tuple[str, str], dict[str, object]]:
    """Read the moments that were published before: one that is in no work folder now stays as it was."""
    path = RESULTS / "calibration.json"
    held = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
    return {(each["training"], each["moment"]): each for each in held}


def run_trial(training: Training, moment: str, work: Path, *, seeds: int | None, steps: int | None) -> Trial:
    """Train one moment on with every arm; what has been trained before is taken from the run file.

    Args:
        training: what is trained.
        moment: of :data:`MOMENTS`.
        work: folder of this training.
        seeds: pairs, in place of the training's.
        steps: of an arm, likewise.
    """
    frozen = profiled(training, moment, work, path=0)
    with gnoise.open_run(frozen) as run:
        arms = _written(run, rows_of(run), work / moment)
    return trial(
        frozen,
        arms=[str(path) for path in arms],
        source=training.workload(work, moment),
        seeds=seeds or training.seeds,
        steps=steps or training.steps,
        batch_size=training.batch_size,
        on_progress=lambda p: print(_said(training, moment, p.ended), file=sys.stderr, flush=True) if p.ended else None,
    )


def _said(training: Training, moment: str, curve: TrialCurve) -> str:
    return f"{training.name} {moment} {curve.arm} {curve.seed} {curve.learning_rate:.2g}: {curve.loss[-1]:.4f}"


def profiled(training: Training, moment: str, work: Path, *, path: int) -> Path:
    """Profile one moment, at frozen weights or along a path of so many steps; once."""
    work.mkdir(parents=True, exist_ok=True)
    file = _file(work, moment, path=path)
    if not file.exists():
        half = file.with_suffix(".half")
        workload = training.workload(work, moment)
        size, draws = training.batch_size, training.path_draws if path else DRAWS
        gnoise.profile(workload, half, draws=draws, batch_size=size, path=path, device="cpu", force=True).close()
        half.rename(file)
    return file


def _file(work: Path, moment: str, *, path: int) -> Path:
    return work / f"{moment}{'-path' if path else ''}.gnoise"


def rows_of(run: Run) -> Rows:
    """Name the evidence behind each arm: layer, remedy and setting."""
    found: Rows = {name: (None, remedy, setting) for name, (remedy, setting) in SETTINGS.items()}
    rates = [
        each
        for each in run.evidence
        if each.layer is not None and each.remedy == "layerwise_lr" and each.role is EvidenceRole.SETTING and each.gain
    ]
    worst = min(rates, key=lambda row: row.gain or 1.0)
    found[WORST_RATE] = (worst.layer, worst.remedy, worst.setting)
    return found | {LARGER: (None, "batch", "× 2")}


def _written(run: Run, rows: Rows, folder: Path) -> list[Path]:
    """Write each arm as the recommendations that switch it on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, (layer, remedy, setting) in rows.items():
        if name == LARGER:
            continue
        chosen = [
            each
            for each in run.evidence
            if (each.remedy, each.setting, each.role) == (remedy, setting, EvidenceRole.SETTING)
            and each.params
            and (each.layer == layer if layer is not None else True)
        ]
        model = [each for each in chosen if each.layer is None]
        entries = [
            {"layer": each.layer, "remedy": remedy, "params": dict(each.params), "status": str(Status.OK)}
            for each in model or chosen
        ]
        document = {"format": RECOMMENDATIONS_FORMAT, "version": RECOMMENDATIONS_VERSION, "recommendations": entries}
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(document, indent=1), encoding="utf-8")
    return paths


def cell(training: Training, moment: str, work: Path) -> dict[str, object] | None:
    """Read what is there of one moment: predictions of both kinds and the trial's results; ``None`` without a trial.

    Args:
        training: what was trained.
        moment: of :data:`MOMENTS`.
        work: folder of this training.
    """
    frozen, along = _file(work, moment, path=0), _file(work, moment, path=PATH)
    if not frozen.exists():
        return None
    with gnoise.open_run(frozen) as run:
        done = [each for each in run.trials if len(final_losses(each, LARGER)) >= FEWEST]
        if not done:
            return None
        rows, measured = rows_of(run), _measured(done[-1])
        predictions = {"frozen": _predictions(run, rows) | _of_layers(run, work / moment)}
        scale = next((e.value, e.low, e.high) for e in run.estimates if e.layer is None and e.quantity == "b_simple")
    if along.exists():
        with gnoise.open_run(along) as moved:
            predictions["path"] = _predictions(moved, rows) | _of_layers(moved, work / moment)
    return {
        "training": training.name,
        "moment": moment,
        "batch_size": training.batch_size,
        "b_simple": scale,
        "predictions": predictions,
        "trial": measured,
    }


def _predictions(run: Run, rows: Rows) -> dict[str, dict[str, float | str | None]]:
    by_name = {(e.layer, e.remedy, e.setting): e for e in run.evidence if e.role is EvidenceRole.SETTING}
    return {name: _prediction(by_name[key]) for name, key in rows.items() if key in by_name}


def _of_layers(run: Run, folder: Path) -> dict[str, dict[str, float | str | None]]:
    """Predict the arms whose limits differ by layer for the very layers they were trained with.

    A layer in which a setting leaves no progress that can be told has no row to take a limit from, so that the arm
    leaves it alone; the model's own rows have it treated.
    """
    wanted = {name: SETTINGS[name] for name in BY_LAYER}
    arms = [arm for arm in ARMS if (arm.remedy, arm.setting) in wanted.values()]
    measure = measure_along if run.info.path_steps else measure_progress
    optimizer = simulated_optimizer(run.info.optimizer)
    treated = {(remedy, words): _layers(folder / f"{name}.json") for name, (remedy, words) in wanted.items()}
    parts: list[Progress] = []
    for layer in run.layers:
        sample = run.samples(layer.name).coordinates
        found = measure(sample, optimizer, arms)
        if isinstance(found, Progress):
            idle = [i > 0 and layer.name not in treated[arm.remedy, arm.setting] for i, arm in enumerate(found.arms)]
            parts.append(_untreated(found, np.array(idle)).scaled(layer.numel / sample.index.size))
    gains = {(each.remedy, each.setting): each.gain for each in setting_gains(add_progress(parts))}
    return {
        name: {"layer": None, "setting": key[1], "gain": gain.value, "low": gain.low, "high": gain.high}
        for name, key in wanted.items()
        if (gain := gains.get(key)) is not None
    }


def _layers(arm: Path) -> set[str]:
    return {each["layer"] for each in json.loads(arm.read_text(encoding="utf-8"))["recommendations"]}


def _untreated(progress: Progress, idle: Bool[np.ndarray, " arms"]) -> Progress:
    """Let some arms do what none does."""
    place = np.where(idle, 0, np.arange(len(progress.arms)))
    return replace(
        progress,
        along=progress.along[place],
        size=progress.size[place],
        steady=progress.steady[place],
        along_left=progress.along_left[:, place],
        size_left=progress.size_left[:, place],
    )


def _prediction(row: Evidence) -> dict[str, float | str | None]:
    return {"layer": row.layer, "setting": row.setting, "gain": row.gain, "low": row.low, "high": row.high}


def _measured(done: Trial) -> dict[str, object]:
    plain = [curve for curve in done.curves if curve.arm == NONE]
    return {
        "steps": done.plan.steps,
        "learning_rate": plain[0].learning_rate,
        "checkpoint_rate": done.plan.learning_rate,
        "loss_before": plain[0].loss[0],
        "final": {arm: {str(s): loss for s, loss in final_losses(done, arm).items()} for arm in done.plan.arms},
        "results": [asdict(result) for result in judge_trial(done)],
    }


def _publish(cells: Sequence[dict[str, object]], *, save: bool) -> None:
    points = [point for each in cells for point in points_of(each)]
    gradients = [point for point in points if point.arm != WORST_RATE]
    found = {name: agreement(points, name) for name in ("frozen", "path")}
    found |= {f"{name}, without the rate": agreement(gradients, name) for name in ("frozen", "path")}
    found["path, without the rate, where told"] = agreement([each for each in gradients if _is_told(each)], "path")
    publish(
        "calibration",
        notes=[
            f"Multiples of no remedy's progress a step: predicted at frozen weights and along a path of {PATH} steps,",
            "measured as the steps without remedy that one of the arm's is worth to equal held-out loss; 95% ends.",
            *[agreement_words(name, each) for name, each in found.items() if each is not None],
        ],
        settings={"checkpoints": len(cells), "arms": len(SETTINGS) + 2},
        columns=COLUMNS,
        rows=[_row(point) for point in points],
        details={"agreement": {k: None if v is None else asdict(v) for k, v in found.items()}, "cells": [*cells]},
        save=save,
    )


def _is_told(point: Point) -> bool:
    """Tell whether a path's draws told a gain at all: its ends lie within :data:`TOLD` of it."""
    if "path" not in point.predicted:
        return False
    value, low, high = point.predicted["path"]
    return max(value - low, high - value) < math.log(TOLD)


def _row(point: Point) -> list[Cell]:
    said = [_interval(point.predicted.get(name)) for name in ("frozen", "path")]
    return [point.checkpoint, point.arm, *said, _interval(point.measured)]


def _interval(logs: tuple[float, float, float] | None) -> str | None:
    if logs is None:
        return None
    value, low, high = (math.exp(x) for x in logs)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/calibration"), help="folder of profiles and trials")
    parser.add_argument("--only", nargs="*", choices=[training.name for training in TRAININGS])
    parser.add_argument("--moments", nargs="*", choices=MOMENTS, default=MOMENTS)
    parser.add_argument("--trials", action="store_true", help="profile at frozen weights and train; no paths yet")
    parser.add_argument("--publish", action="store_true", help="train nothing")
    parser.add_argument("--seeds", type=int, help="pairs, in place of each training's own")
    parser.add_argument(
        "--steps", type=int, help="of an arm; nothing is saved with other steps than each training's own"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
