"""Trials in a run file: a plan when one starts, a curve as each training ends."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gnoise.records import Status
from gnoise.runfile.database import reading, transaction
from gnoise.runfile.upgrade import upgrade
from gnoise.trial_records import Trial, TrialCurve, TrialPlan, TrialState


def start_trial(path: Path, plan: TrialPlan) -> int:
    """Add a trial to a run; one of an older format is brought to the present one first.

    Args:
        path: the run file.
        plan: what will be trained.

    Returns:
        the trial's number.

    Raises:
        UserError: the file cannot be read as a run, or not be written.
    """
    with reading(path):
        upgrade(path)
    with _open(path) as connection, reading(path), transaction(connection):
        cursor = connection.execute(
            "INSERT INTO trial (plan, state, created) VALUES (?, ?, ?)",
            (_json(asdict(plan)), TrialState.RUNNING, datetime.now(UTC).isoformat(timespec="seconds")),
        )
    return int(cursor.lastrowid or 0)


def write_curve(path: Path, trial: int, curve: TrialCurve) -> None:
    """Keep a training that has ended.

    Args:
        path: the run file.
        trial: number of its trial.
        curve: what came of it.

    Raises:
        UserError: the file cannot be written, e.g. as the disk is full.
    """
    with _open(path) as connection, reading(path), transaction(connection):
        connection.execute(
            "INSERT OR REPLACE INTO trial_curve (trial, arm, seed, rate, curve) VALUES (?, ?, ?, ?, ?)",
            (trial, curve.arm, curve.seed, curve.learning_rate, _json(asdict(curve))),
        )


def end_trial(path: Path, trial: int, state: TrialState) -> None:
    """Say how far a trial came.

    Args:
        path: the run file.
        trial: its number.
        state: how far.
    """
    with _open(path) as connection, reading(path), transaction(connection):
        connection.execute("UPDATE trial SET state = ? WHERE id = ?", (state, trial))


def read_trials(connection: sqlite3.Connection) -> tuple[Trial, ...]:
    """Read every trial of a run, the oldest first."""
    curves: dict[int, list[TrialCurve]] = {}
    for trial, curve in connection.execute("SELECT trial, curve FROM trial_curve ORDER BY rowid"):
        curves.setdefault(trial, []).append(_curve(json.loads(curve)))
    rows = connection.execute("SELECT id, plan, state, created FROM trial ORDER BY id")
    return tuple(
        Trial(number, _plan(json.loads(plan)), tuple(curves.get(number, ())), TrialState(state), created)
        for number, plan, state, created in rows
    )


def _open(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)


def _plan(fields: dict[str, Any]) -> TrialPlan:
    for name in ("arms", "seeds", "multiples"):
        fields[name] = tuple(fields[name])
    fields["predicted"] = {arm: tuple(gain) for arm, gain in fields["predicted"].items()}
    return TrialPlan(**fields)


def _curve(fields: dict[str, Any]) -> TrialCurve:
    fields["examples"], fields["loss"] = tuple(fields["examples"]), tuple(fields["loss"])
    fields["status"] = Status(fields["status"])
    return TrialCurve(**fields)
