"""Samples to estimates to recommendations, written back into the run: no model, no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnoise.errors import UserError
from gnoise.records import (
    CoordinateSample,
    Estimate,
    Evidence,
    Finding,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    SketchSample,
    Verdict,
)
from gnoise.rules import recommend_all
from gnoise.runfile.run import Run, open_run
from gnoise.runfile.write import write_findings
from gnoise.stats import STATISTICS, AnyStatistic, NormSums, Subject
from gnoise.stats.discovery import control_discoveries
from gnoise.stats.evidence import (
    ARMS,
    LAYERWISE_LR,
    Arm,
    Ladders,
    judged_under,
    simulated_optimizer,
    spectral_optimizer,
)


def analyze(path: str | Path, *, remedies: Sequence[str] | None = None) -> None:
    """Fit every statistic to a run's samples, judge every remedy, apply every rule, and replace what stood there.

    Args:
        path: of the run file.
        remedies: which to judge and choose from, by name; all without. A name's own gains do not depend on the others.

    Raises:
        UserError: the file cannot be read as a run, or there is no remedy of a name.
    """
    _check(remedies)
    with open_run(path) as run:
        findings, evidence = find_all(run, remedies)
        estimates = [finding for finding in findings if isinstance(finding, Estimate)]
        verdicts = [finding for finding in findings if isinstance(finding, Verdict)]
        recommendations = recommend_all(
            run.layers,
            estimates,
            verdicts,
            evidence,
            path_steps=run.info.path_steps,
            under=judged_under(run.info.optimizer, run.info.judged_under),
        )
    write_findings(Path(path), findings, recommendations, evidence)


def find_all(run: Run, remedies: Sequence[str] | None = None) -> tuple[list[Finding], list[Evidence]]:
    """Fit every statistic and judge every remedy, the whole model first, then layer by layer; then compare layers."""
    arms = [arm for arm in ARMS if remedies is None or arm.remedy in remedies]
    rates = remedies is None or LAYERWISE_LR in remedies
    draws = run.draws
    moving = run.info.path_steps > 0
    model = Subject(layer=None, draws=draws, optimizer=run.info.optimizer, moving=moving)
    found: list[Finding] = []
    of_layers: list[Finding] = []
    for statistic in STATISTICS:
        if statistic.whole_model:
            found += _apply(statistic, model, {NormSample: run.model_norms})
    sums, ladders = NormSums(draws), _ladders(run, arms, rates=rates)
    for layer in run.layers:
        subject = Subject(
            layer=layer,
            row_labels=run.row_labels(layer),
            draws=draws,
            optimizer=run.info.optimizer,
            under=run.info.judged_under,
            moving=moving,
        )
        samples = run.samples(layer.name)
        sums.add(subject, samples)
        ladders.add(layer, samples)
        by_type = _by_type(samples)
        for statistic in STATISTICS:
            of_layers += _apply(statistic, subject, by_type)
    found += [*sums.estimates(), *of_layers]
    verdicts = control_discoveries([finding for finding in found if isinstance(finding, Verdict)])
    return [finding for finding in found if isinstance(finding, Estimate)] + verdicts, ladders.rows()


def _ladders(run: Run, arms: Sequence[Arm], *, rates: bool) -> Ladders:
    found, under = run.info.optimizer, run.info.judged_under
    return Ladders(
        simulated_optimizer(found, under),
        arms,
        rates=rates,
        moving=run.info.path_steps > 0,
        spectral=spectral_optimizer(found, under),
    )


def _check(remedies: Sequence[str] | None) -> None:
    known = [*dict.fromkeys(arm.remedy for arm in ARMS), LAYERWISE_LR]
    for name in remedies or ():
        if name not in known:
            raise UserError(
                f"expected remedies among {', '.join(known)}, got {name!r}; try --remedies {','.join(known[:2])}"
            )


def _apply(statistic: AnyStatistic, subject: Subject, samples: Mapping[type, Any]) -> Sequence[Finding]:
    """Fit one statistic where its sample is there, else hear why it is not."""
    sample = samples.get(statistic.needs)
    return statistic.absent(subject) if sample is None else statistic.estimate(subject, sample)


def _by_type(samples: LayerSamples) -> Mapping[type, Any]:
    return {
        NormSample: samples.norms,
        SketchSample: samples.sketch,
        CoordinateSample: samples.coordinates,
        MatrixSample: samples.matrix,
        ProgressSample: samples.progress,
    }
