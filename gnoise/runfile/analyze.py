"""Samples to estimates to recommendations, written back into the run: no model, no torch."""

from collections.abc import Sequence
from pathlib import Path

from gnoise.errors import UserError
from gnoise.records import Estimate, Evidence, Finding, NormSample, Verdict
from gnoise.rules import recommend_all
from gnoise.runfile.per_layer import apply_statistic, ladders_of
from gnoise.runfile.run import Run, open_run
from gnoise.runfile.workers import find_layers, workers_for
from gnoise.runfile.write import write_findings
from gnoise.stats import STATISTICS, NormSums, Subject
from gnoise.stats.discovery import control_discoveries
from gnoise.stats.evidence import ARMS, LAYERWISE_LR, judged_under


def analyze(path: str | Path, *, remedies: Sequence[str] | None = None, workers: int | None = None) -> None:
    """Fit every statistic to a run's samples, judge every remedy, apply every rule, and replace what stood there.

    Args:
        path: of the run file.
        remedies: which to judge and choose from, by name; all without. A name's own gains do not depend on the others.
        workers: processes that analyse layers side by side; as many as there are cores and the run has work for,
            without. Whatever their number, they find the same.

    Raises:
        UserError: the file cannot be read as a run, or there is no remedy of a name.
    """
    _check(remedies)
    with open_run(path) as run:
        findings, evidence = find_all(run, remedies, workers)
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


def find_all(
    run: Run, remedies: Sequence[str] | None = None, workers: int | None = None
) -> tuple[list[Finding], list[Evidence]]:
    """Fit every statistic and judge every remedy, the whole model first, then layer by layer; then compare layers."""
    model = Subject(layer=None, draws=run.draws, optimizer=run.info.optimizer, moving=run.info.path_steps > 0)
    found: list[Finding] = []
    for statistic in STATISTICS:
        if statistic.whole_model:
            found += apply_statistic(statistic, model, {NormSample: run.model_norms})
    sums, ladders = NormSums(run.draws), ladders_of(run, remedies)
    of_layers = find_layers(run, remedies, workers or workers_for(len(run.layers)))
    for each in of_layers:
        sums.add(each.sums)
        ladders.add(each.judged)
    found += [*sums.estimates(), *(finding for each in of_layers for finding in each.findings)]
    verdicts = control_discoveries([finding for finding in found if isinstance(finding, Verdict)])
    return [finding for finding in found if isinstance(finding, Estimate)] + verdicts, ladders.rows()


def _check(remedies: Sequence[str] | None) -> None:
    known = [*dict.fromkeys(arm.remedy for arm in ARMS), LAYERWISE_LR]
    for name in remedies or ():
        if name not in known:
            raise UserError(
                f"expected remedies among {', '.join(known)}, got {name!r}; try --remedies {','.join(known[:2])}"
            )
