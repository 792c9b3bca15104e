"""Is what gnoise recommends for each shipped sample confirmed by training with it?

Each sample is profiled with the settings beside it. What is recommended is tried (`gnoise trial RUN`);
where nothing is, the remedies that need no evidence are, to see whether one was missed. Profiles and trials stay in
the work folder; started again, the benchmark goes on from there. Of a sample without a trial in the work folder the
rows stay as they were published, with what was recommended then.

    .venv/bin/python benchmarks/sample_trials.py --only llama-docs digits-cnn    # the others as they are in the folder
"""

import argparse
import json
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import torch
from report import RESULTS, Cell, publish

import gnoise
from gnoise.charts.trial import arm_words
from gnoise.records import Remedy
from gnoise.rules.matters import SAVES
from gnoise.runfile import Run
from gnoise.stats.trial import LARGER, LONGER, NONE, final_losses, judge_trial
from gnoise.trial_records import ArmResult, Trial

SAMPLES = Path(__file__).resolve().parents[1] / "sample_checkpoints"
NAMES = ("gpt-docs/early", "gpt-docs/middle", "gpt-docs", "gpt-junk", "llama-docs", "digits-cnn")
RECOMMENDED, UNRECOMMENDED = "recommended", ("clip", "shrink", "stabilize")
COLUMNS = ("sample", "recommended", "predicted a step", "arm", "tokens saved %", "low", "high", "seen", "verdict")


def main() -> None:
    """Profile and train what is missing, then write the table."""
    options = _options()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[list[Cell]] = []
    details: dict[str, object] = {}
    before = _published()
    for name in NAMES:
        path = options.work / f"{name.replace('/', '-')}.gnoise"
        if not path.exists() and not options.publish and (not options.only or name in options.only):
            _profile(name, path)
        if not path.exists():
            kept, details[name] = before.get(name, ([], None))
            rows += kept
            continue
        with gnoise.open_run(path) as run:
            said = _recommended(run)
            predicted = next((r.gain for r in run.recommendations if r.scope == "model"), None)
            trials = run.trials
        if not options.publish and (not options.only or name in options.only):
            arms = [RECOMMENDED] if said else [*UNRECOMMENDED]
            trials = (gnoise.trial(path, arms=arms, steps=options.steps, seeds=options.seeds, device="cpu"),)
            print(name, trials[-1].state, file=sys.stderr, flush=True)
        done = [each for each in trials if len(final_losses(each, NONE)) > 1]
        if not done and name in before:
            kept, details[name] = before[name]
            rows += kept
            continue
        words = "; ".join(said) or "none"
        rows += (
            _rows(name, words, predicted, done[-1]) if done else [[name, words, predicted, *[None] * 5, "not tried"]]
        )
        details[name] = [asdict(result) for result in judge_trial(done[-1])] if done else None
    publish(
        "sample_trials",
        notes=[
            "recommended: by the profile of each sample with the settings beside it. tokens saved: on the way to equal",
            "held-out loss, with its 95% interval; seen: the saving such a trial would have told from none. A remedy",
            "counts as missed where it surely saves tokens, two percent of them or more.",
        ],
        settings={"seeds": options.seeds, "steps": options.steps},
        columns=COLUMNS,
        rows=rows,
        details={"results": details},
    )


def _published() -> dict[str, tuple[list[list[Cell]], object]]:
    path = RESULTS / "sample_trials.json"
    if not path.exists():
        return {}
    held = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, tuple[list[list[Cell]], object]] = {}
    for row in held["table"]:
        rows, _ = found.setdefault(row["sample"], ([], held["results"].get(row["sample"])))
        rows.append([row[column] for column in COLUMNS])
    return found


def _profile(name: str, path: Path) -> None:
    folder = SAMPLES / name
    found = [each for each in (folder, folder.parent) if (each / "gnoise.toml").exists()]
    settings = tomllib.loads((found[0] / "gnoise.toml").read_text(encoding="utf-8"))
    data = settings["data"] if ":" in settings["data"] else str(found[0] / settings["data"])
    factory, loss = settings.get("factory"), settings.get("loss")
    size, draws = settings["batch_size"], settings["draws"]
    gnoise.profile(
        folder, path, data=data, factory=factory, loss=loss, draws=draws, batch_size=size, device="cpu"
    ).close()


def _recommended(run: Run) -> list[str]:
    found = [r for r in run.recommendations if r.remedy is not Remedy.NONE]
    return [f"{r.remedy} for {r.layer or 'the model'}" for r in found]


def _rows(name: str, words: str, predicted: float | None, trial: Trial) -> list[list[Cell]]:
    results = [each for each in judge_trial(trial) if each.arm not in (NONE, LONGER, LARGER)]
    return [[name, words, predicted, arm_words(each.arm), *_percents(each), _verdict(each)] for each in results]


def _percents(result: ArmResult) -> list[float | None]:
    values = (result.tokens_saved, result.low, result.high, result.detectable)
    return [None if value is None else 100.0 * value for value in values]


def _verdict(result: ArmResult) -> str:
    if result.tokens_saved is None or result.low is None or result.high is None:
        return result.status.advice
    if result.low > 0.0 and result.arm == RECOMMENDED:
        return "confirmed"
    if result.low > 0.0:
        return "missed" if result.tokens_saved >= SAVES else "saves less than is recommended for"
    if result.high < 0.0:
        return "harms: not confirmed" if result.arm == RECOMMENDED else "rightly not recommended"
    return "not confirmed: no difference seen" if result.arm == RECOMMENDED else "no difference seen"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/sample_trials"), help="folder of profiles and trials")
    parser.add_argument("--only", nargs="*", choices=NAMES)
    parser.add_argument("--publish", action="store_true", help="train nothing")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
