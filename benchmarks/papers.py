"""The directions that four papers claim, measured at the size of the shipped checkpoints.

Every arm is tuned on a seed of its own and compared with none on five others, in pairs. Every training that has
ended stays in the work folder; started again, the benchmark goes on from there. What is finished is published as it
comes.

    .venv/bin/python benchmarks/papers.py                         # about an hour on one free core
    .venv/bin/python benchmarks/papers.py --only range-policy     # one study; the others as they are in the folder
    .venv/bin/python benchmarks/papers.py --publish               # the table of what there is
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from papers_claims import BATCH, CLAIMS, Claim
from papers_studies import STUDIES, Savings, Study
from papers_table import COLUMNS, NOT_RUN, TOKENS, Row, range_rows, savings_rows
from papers_trainings import Arm, Ended, Kept, Key, Problem, train
from report import RESULTS, publish


class _MissingError(Exception):
    """A training has not been done, and none is to be."""


class Trainer:
    """Trains what a study's file lacks."""

    def __init__(self, path: Path, *, may_train: bool) -> None:
        self._kept, self._name, self._may_train = Kept(path), path.stem, may_train

    def __call__(self, problem: Problem, arm: Arm, key: Key) -> Ended:
        """Return what came of a training, after training if need be."""
        found = self._kept.find(key)
        if found is None:
            if not self._may_train:
                raise _MissingError
            found = train(problem, arm, key)
            self._kept.add(key, found)
            said = f"{key.arm}, seed {key.seed}, rate {key.rate:.2g}, decay {key.decay:.2g}, setting {key.setting:g}"
            print(f"{self._name}: {said}: {found.after:.4f} in {found.seconds:.1f} s", file=sys.stderr, flush=True)
        return found


def main() -> None:
    """Train what is missing, study by study, and publish after each."""
    options = _options()
    torch.set_num_threads(1)
    studies = [_shortened(study) for study in STUDIES] if options.quick else list(STUDIES)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) if options.quick else options.work
        for study in studies:
            if options.publish or (options.only and study.name not in options.only):
                continue
            _rows(study, work, may_train=True)
            _publish(studies, work, save=not options.quick)
        if options.publish:
            if not any(work.glob("*.jsonl")):
                raise SystemExit(f"expected trainings in {work}, got none; try --work FOLDER, or without --publish")
            _publish(studies, work, save=True)


def _shortened(study: Study) -> Study:
    if isinstance(study, Savings):
        return replace(study, steps=3, seeds=(1, 2))
    return replace(study, steps=3, seeds=(1, 2), grid=study.grid[::5])


def _rows(study: Study, work: Path, *, may_train: bool) -> tuple[list[Row], dict[str, object]]:
    done = Trainer(work / f"{study.name}.jsonl", may_train=may_train)
    return savings_rows(study, done) if isinstance(study, Savings) else range_rows(study, done)


def _publish(studies: Sequence[Study], work: Path, *, save: bool) -> None:
    cells: list[tuple[str, ...]] = []
    details: dict[str, object] = {}
    before = _published()
    for study in studies:
        try:
            rows, details[study.name] = _rows(study, work, may_train=False)
            cells += [row.cells() for row in rows]
        except _MissingError:
            kept, known = before.get(study.name, ([], None))
            details |= {study.name: known} if known is not None else {}
            unknown = [Row(claim, study.title, "–", TOKENS, remark=NOT_RUN).cells() for claim in _claims(study)]
            cells += kept or unknown
    cells += [row.cells() for row in _of_batch_schedule()]
    order = [claim.text for claim in CLAIMS]
    publish(
        "papers",
        notes=[
            "Directions at our size, not the papers' figures at theirs. Tokens saved: of those that training without",
            "the remedy needs to the same held-out loss, every arm at its own best learning rate and setting on a seed",
            "that is not counted; octaves: of learning rate or weight decay over which training ends within a tenth of",
            "the way from the best loss to the first. Positive is what the paper says. Intervals over pairs of seeds,",
            "95%, one row at a time: of twenty rows without any effect one leaves zero out.",
        ],
        settings={"pairs": len(STUDIES[0].seeds), "threads": 1},
        columns=COLUMNS,
        rows=sorted(cells, key=lambda row: order.index(str(row[0]))),
        details={
            "claims": [{"paper": c.paper, "claim": c.text, "needed at its own scale": c.needed} for c in CLAIMS],
            "studies": details,
        },
        save=save,
    )


def _claims(study: Study) -> list[Claim]:
    return list(dict.fromkeys(study.claims)) if isinstance(study, Savings) else [study.claim]


def _published() -> dict[str, tuple[list[tuple[str, ...]], object]]:
    """Read the rows and details of studies that were published before, and whose trainings are in no folder now."""
    path = RESULTS / "papers.json"
    if not path.exists():
        return {}
    held = json.loads(path.read_text(encoding="utf-8"))
    names = {(claim.text, study.title): study.name for study in STUDIES for claim in _claims(study)}
    found: dict[str, tuple[list[tuple[str, ...]], object]] = {}
    for row in held["table"]:
        name = names.get((row["claim"], row["our setting"]), "")
        if name in held["studies"]:
            rows, _ = found.setdefault(name, ([], held["studies"][name]))
            rows.append(tuple(str(row[column]) for column in COLUMNS))
    return found


def _of_batch_schedule() -> list[Row]:
    """Quote what `batch_schedule.py` found."""
    held = json.loads((RESULTS / "batch_schedule.json").read_text(encoding="utf-8"))
    title = f"gpt-docs' recipe from scratch, {held['settings']['seeds']} pairs (batch_schedule.py)"
    return [
        Row(
            BATCH,
            title,
            f"schedule against {row['against']}",
            TOKENS,
            *(float(row[column].rstrip("%")) / 100.0 for column in ("tokens saved", "low", "high")),
            remark=f"time saved {row['time saved']} ({row['time low']} to {row['time high']}); {row['steps']} steps; "
            f"rates {row['rates']}",
        )
        for row in held["table"]
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/papers"), help="folder of the trainings that have ended"
    )
    parser.add_argument("--only", nargs="*", choices=[study.name for study in STUDIES])
    parser.add_argument("--publish", action="store_true", help="train nothing")
    parser.add_argument("--quick", action="store_true", help="three steps, two seeds; prints, writes nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
