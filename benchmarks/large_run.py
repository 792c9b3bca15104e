"""A run as large as a long watch of a large model: 500 layers, 10,000 steps.

Run with a path, it writes one there; without, nothing.

Every number is made up, from a seed; what counts is how many there are. Norms stand for every step, as do 16 entries
of every layer; sketches and noise matrices are those of a profile. Findings are written as they come, not fitted.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from gnoise.quantities import KIND_QUANTITIES, QUANTITIES, QUESTIONS
from gnoise.records import (
    CoordinateSample,
    DrawSample,
    Estimate,
    Evidence,
    EvidenceRole,
    Finding,
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
    Sketch,
    SketchSample,
    Status,
    Verdict,
)
from gnoise.runfile import RunWriter, write_findings
from gnoise.stats.sketch import sketch_from_values

LAYERS, DRAWS = 500, 10_000
BLOCKS, EXAMPLES, COORDS, PAIRS = 8, 2, 16, 4
_VALUES = 20_000
_WIDTH, _VOCABULARY = 64, 8_192
_TENSORS = (
    ("ln_1.weight", Kind.NORM, (_WIDTH,)),
    ("ln_1.bias", Kind.BIAS, (_WIDTH,)),
    ("attn.c_attn.weight", Kind.ATTENTION, (3 * _WIDTH, _WIDTH)),
    ("attn.c_attn.bias", Kind.BIAS, (3 * _WIDTH,)),
    ("attn.c_proj.weight", Kind.ATTENTION, (_WIDTH, _WIDTH)),
    ("attn.c_proj.bias", Kind.BIAS, (_WIDTH,)),
    ("ln_2.weight", Kind.NORM, (_WIDTH,)),
    ("ln_2.bias", Kind.BIAS, (_WIDTH,)),
    ("mlp.c_fc.weight", Kind.MLP, (4 * _WIDTH, _WIDTH)),
    ("mlp.c_fc.bias", Kind.BIAS, (4 * _WIDTH,)),
    ("mlp.c_proj.weight", Kind.MLP, (_WIDTH, 4 * _WIDTH)),
    ("mlp.c_proj.bias", Kind.BIAS, (_WIDTH,)),
)
_SETTINGS = 5
_REMEDIES = (Remedy.CLIP, Remedy.SHRINK, Remedy.CLIP_NORM, Remedy.STABILIZE)


@dataclass(frozen=True)
class _Shared:
    """What all layers have alike: sketches are long, and making 500 different ones shows nothing."""

    entries: Sketch
    draws: Sketch


def write_large_run(path: Path, *, layers: int = LAYERS, draws: int = DRAWS, seed: int = 0) -> Path:
    """Write a complete run with findings.

    Args:
        path: must not exist.
        layers: of the model, at least 3.
        draws: a multiple of 8.
        seed: of every number in it.
    """
    rng = np.random.default_rng(seed)
    model = list(islice(_model(), layers))
    shared = _Shared(*(sketch_from_values(rng.standard_t(3, _VALUES).astype(np.float32)) for _ in range(2)))
    tokens = [f"token {number}" for number in range(_VOCABULARY)]
    with RunWriter(path, info=_info(model, draws, seed), layers=model, tokens=tokens) as writer:
        for _ in range(BLOCKS):
            of_block = {layer.name: _samples(rng, layer, draws // BLOCKS, shared) for layer in model}
            writer.write_block(_draws(rng, draws // BLOCKS), of_block)
        writer.finish(RunState.COMPLETE)
    estimates = list(_estimates(rng, model))
    verdicts = _verdicts(rng, model)
    findings: list[Finding] = [*estimates, *verdicts]
    write_findings(path, findings, list(_recommendations(model, estimates)), list(_evidence(rng, model)))
    return path


def _model() -> Iterator[Layer]:
    yield Layer("transformer.wte.weight", Kind.EMBEDDING, (_VOCABULARY, _WIDTH))
    yield Layer("transformer.ln_f.weight", Kind.NORM, (_WIDTH,))
    depth = 0
    while True:
        for name, kind, shape in _TENSORS:
            yield Layer(f"transformer.h.{depth}.{name}", kind, shape, depth)
        depth += 1


def _info(model: Sequence[Layer], draws: int, seed: int) -> RunInfo:
    return RunInfo(
        model="made up, to be large",
        source="benchmarks/large_run.py",
        checkpoint_sha256="0" * 64,
        data="made up",
        example="sequence",
        tokens_per_example=1024,
        loss_reduction="mean",
        draws=draws,
        examples_per_draw=EXAMPLES,
        dtype="float32",
        training_mode=True,
        seed=seed,
        device="cpu",
        world_size=1,
        parameters=sum(layer.numel for layer in model),
        versions={"numpy": np.__version__},
        command="python benchmarks/large_run.py",
        created="2026-01-01T00:00:00+00:00",
        optimizer={"name": "AdamW", "lr": 3e-4, "batch_size": 256, "clip_global_norm": 1.0, "iteration": 20_000},
    )


def _draws(rng: np.random.Generator, draws: int) -> DrawSample:
    shape = (draws, EXAMPLES)
    return DrawSample(
        rng.integers(0, 1_000_000, shape), 3.0 + rng.standard_normal(shape), np.full(shape, 1.0 / EXAMPLES)
    )


def _samples(rng: np.random.Generator, layer: Layer, draws: int, shared: _Shared) -> LayerSamples:
    sq_norms = rng.lognormal(0.0, 0.3, draws)
    return LayerSamples(
        norms=NormSample(
            rng.lognormal(0.5, 0.5, (draws, EXAMPLES)),
            sq_norms,
            rng.lognormal(-1.0, 0.1, 1),
            np.full((draws, EXAMPLES), 1.0 / EXAMPLES),
        ),
        sketch=SketchSample((shared.entries,), (shared.draws,), 16),
        coordinates=CoordinateSample(
            np.arange(COORDS), rng.standard_normal((draws, COORDS), dtype=np.float32), sq_norms, sq_norms
        ),
        matrix=_matrix(rng, layer) if len(layer.shape) == 2 else None,
    )


def _matrix(rng: np.random.Generator, layer: Layer) -> MatrixSample:
    rows, columns = layer.shape
    edge = rows**0.5 + columns**0.5
    return MatrixSample(
        rows=rows,
        columns=columns,
        spectral=edge * rng.uniform(1.0, 3.0, PAIRS),
        nuclear=edge * rng.uniform(10.0, 12.0, PAIRS),
        max_entry=rng.uniform(3.0, 6.0, PAIRS),
        frobenius_sq=np.full(PAIRS, float(rows * columns)),
        l1=np.full(PAIRS, 0.8 * rows * columns),
        sum_fourth=np.full(PAIRS, 3.0 * rows * columns),
        ipr_left=rng.uniform(1.0 / rows, 0.1, PAIRS),
        ipr_right=rng.uniform(1.0 / columns, 0.1, PAIRS),
        row_energy=rng.chisquare(columns, (PAIRS, rows)),
        column_energy=rng.chisquare(rows, (PAIRS, columns)),
        winsorised_fourth=np.full(PAIRS, 2.5 * rows * columns),
        bulk_scale=np.ones(PAIRS),
        coherent_fourth=rng.uniform(0.0, 1.0, PAIRS),
        permuted_ratio=rng.uniform(1.0, 3.0, 1),
        max_position=rng.integers(0, rows * columns, PAIRS),
    )


def _estimates(rng: np.random.Generator, model: Sequence[Layer]) -> Iterator[Estimate]:
    """Give the model and every layer every quantity, one in twenty without a number."""
    of_kinds = set(KIND_QUANTITIES.values())
    for layer in (None, *(layer.name for layer in model)):
        for quantity in QUANTITIES:
            if layer is not None and quantity in of_kinds:
                continue
            if rng.random() < 0.05 and layer is not None:
                yield Estimate(layer, quantity, None, None, None, None, 64, Status.TOO_FEW_DRAWS)
                continue
            value = float(rng.lognormal(0.0, 1.0)) / 3.0
            yield Estimate(layer, quantity, value, 0.9 * value, 1.2 * value, 0.07 * value, 64, Status.OK)


def _verdicts(rng: np.random.Generator, model: Sequence[Layer]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for layer in model:
        for question in QUESTIONS.values():
            answer, runner_up = rng.permutation(list(question.answers))[:2]
            chance = float(rng.random())
            verdicts.append(
                Verdict(layer.name, question.name, str(answer), str(runner_up), 2.5, chance, 64, Status.OK, "", chance)
            )
    return verdicts


def _evidence(rng: np.random.Generator, model: Sequence[Layer]) -> Iterator[Evidence]:
    for layer in (None, *(layer.name for layer in model)):
        for remedy in _REMEDIES:
            yield _gain(rng, layer, remedy, "chosen", EvidenceRole.REMEDY)
            for number in range(_SETTINGS):
                yield _gain(rng, layer, remedy, f"threshold {number}", EvidenceRole.SETTING)
        yield _gain(rng, layer, Remedy.CLIP, "chosen", EvidenceRole.BEST)


def _gain(rng: np.random.Generator, layer: str | None, remedy: Remedy, setting: str, role: EvidenceRole) -> Evidence:
    gain = float(rng.uniform(0.9, 1.3))
    batch = max(gain, 1.0)
    ends = (gain, gain - 0.05, gain + 0.05)
    return Evidence(
        *(layer, remedy, setting, {"threshold": 1.0}, role, *ends, 0.99, batch, 1.0, batch + 0.1),
        p_value=0.1,
        n=64,
        status=Status.OK,
        q_value=None if layer is None else 0.2,
    )


def _recommendations(model: Sequence[Layer], estimates: Sequence[Estimate]) -> Iterator[Recommendation]:
    """Let one layer in ten need a remedy."""
    spikes = {each.layer: each for each in estimates if each.quantity == "spike_ratio"}
    yield Recommendation("model", None, Remedy.NONE, {}, Status.OK, "no norm stands out", (spikes[None],))
    for number, layer in enumerate(model):
        needed = number % 10 == 0
        yield Recommendation(
            "layer",
            layer.name,
            Remedy.CLIP if needed else Remedy.NONE,
            {"clip_value": 3.0} if needed else {},
            Status.OK,
            "entries are heavy" if needed else "averaging suffices",
            (spikes[layer.name],),
            Severity.WARNING if needed else Severity.INFO,
            *((1.05, 1.2, 1.1) if needed else (None, None, None)),
        )


if __name__ == "__main__" and len(sys.argv) > 1:
    print(f"Wrote {write_large_run(Path(sys.argv[1]))}")
