"""Writing a run: one transaction a block of draws."""

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np

from gnoise.errors import GnoiseError
from gnoise.records import (
    DrawSample,
    Estimate,
    Evidence,
    Finding,
    Layer,
    LayerSamples,
    Recommendation,
    RunInfo,
    RunState,
    Verdict,
)
from gnoise.runfile.arrays import ONCE, Array, flatten_draws, flatten_layer, pack
from gnoise.runfile.database import create_database, reading, transaction
from gnoise.runfile.upgrade import upgrade

MODEL = 0
"""The ``array.layer`` of arrays that belong to the whole model."""


class RunWriter:
    """The one writer of a run file, while samples are collected.

    Args:
        path: where to write.
        info: what is being run.
        layers: in the order of ``named_parameters()``.
        tokens: text of each row of an embedding or head; empty without a tokenizer.
        force: replace a file that exists.

    Raises:
        UserError: the file exists without ``force``, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        info: RunInfo,
        layers: Sequence[Layer],
        tokens: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        self.path = path
        self._ids = {layer.name: number for number, layer in enumerate(layers, start=1)}
        self._state = RunState.COLLECTING
        self._blocks = 0

        def fill(connection: sqlite3.Connection) -> None:
            _put(connection, "info", asdict(info))
            _put(connection, "state", self._state)
            _put(connection, "tokens", list(tokens))
            connection.executemany(
                "INSERT INTO layer (id, name, kind, shape, depth, owners) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (self._ids[x.name], x.name, x.kind, json.dumps(x.shape), x.depth, json.dumps(x.owners))
                    for x in layers
                ],
            )

        self._connection = create_database(path, fill, force=force)

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write_block(self, draws: DrawSample, layers: Mapping[str, LayerSamples]) -> None:
        """Append one block of draws, of the whole model and of every layer, all or nothing."""
        with transaction(self._connection):
            self._write_arrays(MODEL, flatten_draws(draws))
            for name, samples in layers.items():
                self._write_arrays(self._ids[name], flatten_layer(samples))
        self._blocks += 1

    def finish(self, state: RunState) -> None:
        """Record how far collection came."""
        self._state = state
        with transaction(self._connection):
            _put(self._connection, "state", state)

    def close(self) -> None:
        """Fold the write-ahead log into the one file."""
        if self._state is RunState.COLLECTING:
            self.finish(RunState.INTERRUPTED)
        _close(self._connection)

    def _write_arrays(self, layer: int, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if name in ONCE and self._blocks:
                continue
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise GnoiseError(f"expected finite values in {name} of layer {layer}; this is a bug")
            packed = pack(array)
            self._connection.execute(
                "INSERT INTO array (layer, name, block, dtype, shape, codec, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    layer,
                    name,
                    self._blocks,
                    packed.dtype,
                    json.dumps(packed.shape),
                    packed.codec,
                    packed.data,
                ),
            )


def write_findings(
    path: Path,
    findings: Sequence[Finding],
    recommendations: Sequence[Recommendation],
    evidence: Sequence[Evidence] = (),
) -> None:
    """Replace a run's estimates, verdicts, evidence and recommendations in one transaction; samples stay as they are.

    A run of an older format is brought to the present one first.

    Raises:
        GnoiseError: an estimate is not finite, or has neither a value nor a status.
        UserError: the file cannot be read as a run.
    """
    estimates = [finding for finding in findings if isinstance(finding, Estimate)]
    verdicts = [finding for finding in findings if isinstance(finding, Verdict)]
    for estimate in estimates:
        _check(estimate)
    for each in evidence:
        _check_evidence(each)
    with reading(path):
        upgrade(path)
    connection = sqlite3.connect(path, isolation_level=None)
    with reading(path), transaction(connection):
        for table in ("recommendation", "evidence", "verdict", "estimate"):
            connection.execute(f"DELETE FROM {table}")
        connection.executemany(
            "INSERT INTO estimate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (i, e.layer, e.quantity, e.value, e.low, e.high, e.stderr, e.n, e.status, e.note)
                for i, e in enumerate(estimates, start=1)
            ],
        )
        connection.executemany(
            "INSERT INTO verdict VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (i, v.layer, v.question, v.answer, v.runner_up, v.margin, v.p_value, v.q_value, v.n, v.status, v.note)
                for i, v in enumerate(verdicts, start=1)
            ],
        )
        connection.executemany(
            f"INSERT INTO evidence VALUES ({', '.join('?' * 20)})",
            [(i, *_evidence_row(each)) for i, each in enumerate(evidence, start=1)],
        )
        ids = {(e.layer, e.quantity): i for i, e in enumerate(estimates, start=1)}
        connection.executemany(
            f"INSERT INTO recommendation VALUES ({', '.join('?' * 17)})",
            [
                (
                    i,
                    r.scope,
                    r.layer,
                    r.remedy,
                    json.dumps(dict(r.params), allow_nan=False, sort_keys=True),
                    r.status,
                    r.reason,
                    json.dumps([ids[e.layer, e.quantity] for e in r.because]),
                    r.severity,
                    r.gain_low,
                    r.gain_high,
                    r.gain,
                    json.dumps(r.alternatives),
                    r.unless,
                    r.tokens_saved,
                    r.tokens_saved_low,
                    r.tokens_saved_high,
                )
                for i, r in enumerate(recommendations, start=1)
            ],
        )
    with reading(path):
        _close(connection)


def _check(estimate: Estimate) -> None:
    numbers = (estimate.value, estimate.low, estimate.high, estimate.stderr)
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise GnoiseError(f"expected a finite estimate, got {estimate}; this is a bug")
    if estimate.value is None and estimate.status == "ok":
        raise GnoiseError(f"expected a value or a status that says why not, got {estimate}; this is a bug")


def _check_evidence(evidence: Evidence) -> None:
    numbers = (evidence.gain, evidence.low, evidence.high, evidence.bias_floor)
    numbers += (evidence.batch, evidence.batch_low, evidence.batch_high)
    numbers += (evidence.tokens_saved, evidence.tokens_saved_low, evidence.tokens_saved_high)
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise GnoiseError(f"expected finite evidence, got {evidence}; this is a bug")
    if evidence.gain is None and evidence.status == "ok":
        raise GnoiseError(f"expected a gain or a status that says why not, got {evidence}; this is a bug")


def _evidence_row(evidence: Evidence) -> tuple[object, ...]:
    return (
        evidence.layer,
        evidence.remedy,
        evidence.setting,
        json.dumps(dict(evidence.params), allow_nan=False, sort_keys=True),
        evidence.role,
        evidence.gain,
        evidence.low,
        evidence.high,
        evidence.bias_floor,
        evidence.batch,
        evidence.batch_low,
        evidence.batch_high,
        evidence.p_value,
        evidence.q_value,
        evidence.n,
        evidence.status,
        evidence.tokens_saved,
        evidence.tokens_saved_low,
        evidence.tokens_saved_high,
    )


def _put(connection: sqlite3.Connection, key: str, value: object) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO run (key, value) VALUES (?, ?)", (key, json.dumps(value, allow_nan=False))
    )


def _close(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
