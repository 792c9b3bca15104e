"""What analysis finds of one layer, without the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnoise.records import (
    CoordinateSample,
    Finding,
    Layer,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    SketchSample,
)
from gnoise.runfile.run import Run
from gnoise.stats import STATISTICS, AnyStatistic, Subject, Summands, summands
from gnoise.stats.evidence import (
    ARMS,
    LAYERWISE_LR,
    Judged,
    Ladders,
    simulated_optimizer,
    spectral_optimizer,
)


@dataclass(frozen=True)
class LayerFindings:
    """Of one layer.

    Attributes:
        findings: of every statistic, in their order.
        sums: what it adds to norms of several layers.
        judged: what every remedy would have bought it.
    """

    findings: tuple[Finding, ...]
    sums: Summands
    judged: Judged


def find_layer(run: Run, layer: Layer, ladders: Ladders) -> LayerFindings:
    """Fit every statistic to one layer's samples and judge every remedy on it.

    Args:
        run: open.
        layer: of it.
        ladders: which judge; nothing is added to them.
    """
    subject = Subject(
        layer=layer,
        row_labels=run.row_labels(layer),
        draws=run.draws,
        optimizer=run.info.optimizer,
        under=run.info.judged_under,
        moving=run.info.path_steps > 0,
    )
    samples = run.samples(layer.name)
    by_type = _by_type(samples)
    findings = [found for statistic in STATISTICS for found in apply_statistic(statistic, subject, by_type)]
    return LayerFindings(tuple(findings), summands(subject, samples), ladders.judge(layer, samples))


def ladders_of(run: Run, remedies: Sequence[str] | None = None) -> Ladders:
    """Set ladders up for a run.

    Args:
        run: whose optimizer remedies are judged under.
        remedies: which to judge, by name; all without.
    """
    found, under = run.info.optimizer, run.info.judged_under
    return Ladders(
        simulated_optimizer(found, under),
        [arm for arm in ARMS if remedies is None or arm.remedy in remedies],
        rates=remedies is None or LAYERWISE_LR in remedies,
        moving=run.info.path_steps > 0,
        spectral=spectral_optimizer(found, under),
    )


def apply_statistic(statistic: AnyStatistic, subject: Subject, samples: Mapping[type, Any]) -> Sequence[Finding]:
    """Fit one statistic where its sample is there, else hear why it is not.

    Args:
        statistic: which.
        subject: what the samples are of.
        samples: by their type.
    """
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
