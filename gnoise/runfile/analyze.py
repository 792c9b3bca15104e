"""Samples to estimates to recommendations, written back into the run: no model, no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnoise.records import (
    CoordinateSample,
    Estimate,
    Kind,
    Layer,
    LayerSamples,
    MatrixSample,
    NormSample,
    SketchSample,
)
from gnoise.rules import recommend_all
from gnoise.runfile.run import Run, open_run
from gnoise.runfile.write import write_findings
from gnoise.stats import STATISTICS, AnyStatistic, Subject


def analyze(path: str | Path) -> None:
    """Fit every statistic to a run's samples, apply every rule, and replace what stood there before.

    Raises:
        UserError: the file cannot be read as a run.
    """
    with open_run(path) as run:
        estimates = estimate_all(run)
        recommendations = recommend_all(run.layers, estimates)
    write_findings(Path(path), estimates, recommendations)


def estimate_all(run: Run) -> list[Estimate]:
    """Fit every statistic, the whole model first, then layer by layer."""
    draws = run.draws
    model = Subject(layer=None, draws=draws, optimizer=run.info.optimizer)
    estimates: list[Estimate] = []
    for statistic in STATISTICS:
        if statistic.whole_model:
            estimates += _apply(statistic, model, {NormSample: run.model_norms})
    for layer in run.layers:
        subject = Subject(
            layer=layer, row_labels=_row_labels(layer, run.tokens), draws=draws, optimizer=run.info.optimizer
        )
        samples = _by_type(run.samples(layer.name))
        for statistic in STATISTICS:
            estimates += _apply(statistic, subject, samples)
    return estimates


def _apply(statistic: AnyStatistic, subject: Subject, samples: Mapping[type, Any]) -> list[Estimate]:
    """Fit one statistic where its sample is there."""
    sample = samples.get(statistic.needs)
    return [] if sample is None else statistic.estimate(subject, sample)


def _by_type(samples: LayerSamples) -> Mapping[type, Any]:
    return {
        NormSample: samples.norms,
        SketchSample: samples.sketch,
        CoordinateSample: samples.coordinates,
        MatrixSample: samples.matrix,
    }


def _row_labels(layer: Layer, tokens: tuple[str, ...]) -> tuple[str, ...]:
    has_token_rows = layer.kind in (Kind.EMBEDDING, Kind.HEAD) and layer.shape[0] == len(tokens)
    return tokens if has_token_rows else ()
