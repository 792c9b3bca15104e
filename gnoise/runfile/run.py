"""Reading a run: read-only, lazily, also while it is still being written."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gnoise.errors import UserError, unreadable
from gnoise.records import (
    DrawSample,
    Estimate,
    Evidence,
    EvidenceRole,
    Kind,
    Layer,
    LayerSamples,
    MatrixSample,
    NormSample,
    Recommendation,
    Remedy,
    RunInfo,
    RunState,
    Severity,
    SketchSample,
    Status,
    Verdict,
)
from gnoise.runfile.arrays import (
    Array,
    Packed,
    assemble_draws,
    assemble_layer,
    assemble_matrix,
    assemble_norms,
    assemble_sketch,
    assemble_values,
    unpack,
)
from gnoise.runfile.database import open_database, reading
from gnoise.runfile.trials import read_trials
from gnoise.runfile.write import MODEL
from gnoise.trial_records import Trial

_EVIDENCE = tuple(field.name for field in fields(Evidence))
_RECOMMENDATION = tuple(field.name for field in fields(Recommendation))


def open_run(path: str | Path) -> "Run":
    """Open a run file read-only.

    Raises:
        UserError: it is missing, is not a run file, is damaged, or is of a newer format (exit code 3).
    """
    run = Run(Path(path))
    try:
        _ = run.info, run.layers, run.state
    except UserError:
        run.close()
        raise
    return run


class Run:
    """One run file. Every attribute is read when first asked for.

    Use :func:`open_run`, as a context manager or with :meth:`close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_database(path)

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @cached_property
    def info(self) -> RunInfo:
        """What was run."""
        return RunInfo(**self._value("info"))

    @property
    def state(self) -> RunState:
        """How far collection has come, as of now."""
        return RunState(self._value("state"))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Text of each row of an embedding or head; empty without a tokenizer."""
        return tuple(self._value("tokens"))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every trainable parameter tensor, tied ones once, in the model's order."""
        rows = self._query("SELECT name, kind, shape, depth, owners FROM layer ORDER BY id")
        return tuple(
            Layer(name, Kind(kind), tuple(json.loads(shape)), depth, tuple(json.loads(owners)))
            for name, kind, shape, depth, owners in rows
        )

    def row_labels(self, layer: Layer) -> tuple[str, ...]:
        """Text behind each row of an embedding or head with a row a token; empty for any other layer."""
        has_token_rows = layer.kind in (Kind.EMBEDDING, Kind.HEAD) and layer.shape[0] == len(self.tokens)
        return self.tokens if has_token_rows else ()

    def layer(self, name: str) -> Layer:
        """Find a layer by any of the names it goes by.

        Raises:
            UserError: there is none; names the nearest ones.
        """
        for layer in self.layers:
            if name == layer.name or name in layer.owners:
                return layer
        # difflib is slow to import and only needed for a typing error.
        from difflib import get_close_matches

        near = get_close_matches(name, [x.name for x in self.layers], n=3, cutoff=0.3)
        hint = " or ".join(near) if near else f"gnoise show {self.path}"
        raise UserError(f"expected a layer of {self.path}, got {name!r}; try {hint}")

    @property
    def draws(self) -> DrawSample:
        """What was drawn so far."""
        return assemble_draws(self._arrays(MODEL))

    def samples(self, name: str) -> LayerSamples:
        """All samples of one layer."""
        blocks = self._arrays(self._number(name))
        return assemble_layer(blocks, draws=self.draws, model_draw_sq_norms=self.model_norms.draw_sq_norms)

    def norms(self, name: str) -> NormSample:
        """Squared norms of one layer, without reading its other samples."""
        return assemble_norms(self._arrays(self._number(name), sample="norms"), draws=self.draws)

    def sketch(self, name: str) -> SketchSample:
        """Sketches of one layer's noise, without reading its other samples."""
        return assemble_sketch(self._arrays(self._number(name), sample="sketch"))

    def coordinate_values(self, name: str) -> Array:
        """Gradient entries of one layer, draws × coords, without reading its other samples."""
        return assemble_values(self._arrays(self._number(name), sample="coordinates"))

    def matrix(self, name: str) -> MatrixSample | None:
        """Noise matrices of one layer, without reading its other samples; ``None`` for a vector."""
        return assemble_matrix(self._arrays(self._number(name), sample="matrix"))

    @cached_property
    def model_norms(self) -> NormSample:
        """Squared norms over all layers together."""
        draws = self.draws
        return NormSample(
            example_sq_norms=self._summed("norms.example_sq_norms", draws.example_losses.shape),
            draw_sq_norms=self._summed("norms.draw_sq_norms", draws.example_losses.shape[:1]),
            block_sq_norms=self._summed("norms.block_sq_norms", (-1,)),
            example_weights=draws.example_weights,
        )

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """Every estimate of the last analysis; empty before one."""
        return tuple(self._estimates.values())

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict of the last analysis, in the order of the layers."""
        rows = self._query(
            "SELECT layer, question, answer, runner_up, margin, p_value, q_value, n, status, note "
            "FROM verdict ORDER BY id"
        )
        return tuple(
            Verdict(layer, question, answer, runner_up, margin, p_value, n, Status(status), note, q_value)
            for layer, question, answer, runner_up, margin, p_value, q_value, n, status, note in rows
        )

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What every remedy would have bought, the model first; empty before an analysis."""
        return tuple(map(_evidence, self._query(f"SELECT {', '.join(_EVIDENCE)} FROM evidence ORDER BY id")))

    def evidence_of(self, layer: str | None) -> tuple[Evidence, ...]:
        """What every remedy would have bought one layer, or the model, without reading the others."""
        sql = f"SELECT {', '.join(_EVIDENCE)} FROM evidence WHERE coalesce(layer, '') = ? ORDER BY id"
        return tuple(map(_evidence, self._query(sql, layer or "")))

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """Every recommendation of the last analysis, the model's first."""
        estimates = self._estimates
        rows = self._query(f"SELECT {', '.join(_RECOMMENDATION)} FROM recommendation ORDER BY id")
        return tuple(_recommendation(row, estimates) for row in rows)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, with the trainings that have ended so far, the oldest first."""
        with reading(self.path):
            return read_trials(self._connection)

    @cached_property
    def _estimates(self) -> dict[int, Estimate]:
        rows = self._query(
            "SELECT id, layer, quantity, value, low, high, stderr, n, status, note FROM estimate ORDER BY id"
        )
        return {
            key: Estimate(layer, quantity, value, low, high, stderr, n, Status(status), note)
            for key, layer, quantity, value, low, high, stderr, n, status, note in rows
        }

    def _summed(self, name: str, shape: tuple[int, ...]) -> Array:
        """Sum an array over layers, blocks joined."""
        rows = self._query(
            "SELECT block, dtype, shape, codec, data FROM array WHERE layer > ? AND name = ? ORDER BY block, layer",
            MODEL,
            name,
        )
        sums: dict[int, Array] = {}
        for block, *packed in rows:
            piece = self._unpack(packed)
            sums[block] = sums[block] + piece if block in sums else piece.astype(np.float64)
        joined = np.concatenate(list(sums.values())) if sums else np.empty(0)
        return joined.reshape(shape)

    def _number(self, name: str) -> int:
        return 1 + self.layers.index(self.layer(name))

    def _arrays(self, layer: int, *, sample: str = "") -> Mapping[str, list[Array]]:
        """Read a layer's arrays, or those of one sample."""
        rows = self._query(
            "SELECT name, dtype, shape, codec, data FROM array WHERE layer = ? AND name GLOB ? ORDER BY name, block",
            layer,
            f"{sample}.*" if sample else "*",
        )
        blocks: dict[str, list[Array]] = {}
        for name, *packed in rows:
            blocks.setdefault(name, []).append(self._unpack(packed))
        return blocks

    def _unpack(self, packed: list[Any]) -> Array:
        dtype, shape, codec, data = packed
        try:
            return unpack(Packed(dtype, tuple(json.loads(shape)), codec, data))
        except (ValueError, TypeError, OSError) as error:
            raise unreadable(f"expected a whole run file, but an array in {self.path} is damaged ({error})") from error

    def _value(self, key: str) -> Any:
        rows = self._query("SELECT value FROM run WHERE key = ?", key)
        if not rows:
            raise unreadable(
                f"expected a whole run file, but {self.path} has no {key!r}; try gnoise profile again with --force"
            )
        return json.loads(rows[0][0])

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with reading(self.path):
            return self._connection.execute(sql, parameters).fetchall()


def _evidence(row: tuple[Any, ...]) -> Evidence:
    named = dict(zip(_EVIDENCE, row, strict=True))
    named["params"], named["role"] = json.loads(named["params"]), EvidenceRole(named["role"])
    named["status"] = Status(named["status"])
    return Evidence(**named)


def _recommendation(row: tuple[Any, ...], estimates: Mapping[int, Estimate]) -> Recommendation:
    named = dict(zip(_RECOMMENDATION, row, strict=True))
    named["remedy"], named["status"] = Remedy(named["remedy"]), Status(named["status"])
    named["severity"], named["params"] = Severity(named["severity"]), json.loads(named["params"])
    named["because"] = tuple(estimates[key] for key in json.loads(named["because"]))
    named["alternatives"] = tuple(json.loads(named["alternatives"]))
    return Recommendation(**named)


def is_run(path: Path) -> bool:
    """Tell whether a file is a run file this version can open."""
    try:
        open_database(path).close()
    except (UserError, sqlite3.Error):
        return False
    return True
