"""Samples to estimates to recommendations, written back into the run: no model, no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnoise.records import (
    CoordinateSample,
    Estimate,
    Finding,
    LayerSamples,
    MatrixSample,
    NormSample,
    SketchSample,
    Verdict,
)
from gnoise.rules import recommend_all
from gnoise.runfile.run import Run, open_run
from gnoise.runfile.write import write_findings
from gnoise.stats import STATISTICS, AnyStatistic, NormSums, Subject
from gnoise.stats.discovery import control_discoveries


def analyze(path: str | Path) -> None:
    """Fit every statistic to a run's samples, apply every rule, and replace what stood there before.

    Raises:
        UserError: the file cannot be read as a run.
    """
    with open_run(path) as run:
        findings = find_all(run)
        estimates = [finding for finding in findings if isinstance(finding, Estimate)]
        recommendations = recommend_all(run.layers, estimates)
    write_findings(Path(path), findings, recommendations)


def find_all(run: Run) -> list[Finding]:
    """Fit every statistic, the whole model first, then layer by layer; then compare verdicts over layers."""
    draws = run.draws
    model = Subject(layer=None, draws=draws, optimizer=run.info.optimizer)
    found: list[Finding] = []
    of_layers: list[Finding] = []
    for statistic in STATISTICS:
        if statistic.whole_model:
            found += _apply(statistic, model, {NormSample: run.model_norms})
    sums = NormSums(draws)
    for layer in run.layers:
        subject = Subject(layer=layer, row_labels=run.row_labels(layer), draws=draws, optimizer=run.info.optimizer)
        samples = run.samples(layer.name)
        sums.add(subject, samples)
        by_type = _by_type(samples)
        for statistic in STATISTICS:
            of_layers += _apply(statistic, subject, by_type)
    found += [*sums.estimates(), *of_layers]
    verdicts = control_discoveries([finding for finding in found if isinstance(finding, Verdict)])
    return [finding for finding in found if isinstance(finding, Estimate)] + verdicts


def _apply(statistic: AnyStatistic, subject: Subject, samples: Mapping[type, Any]) -> Sequence[Finding]:
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
