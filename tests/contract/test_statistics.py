"""Every statistic in the list: reports what it names, once; says so when there is nothing to report."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from gnoise.quantities import KIND_QUANTITIES, QUANTITIES, QUESTIONS
from gnoise.records import (
    CoordinateSample,
    Estimate,
    Finding,
    Kind,
    LayerSamples,
    MatrixSample,
    NormSample,
    ProgressSample,
    SketchSample,
    Status,
    Verdict,
)
from gnoise.stats import STATISTICS, Statistic, Subject
from tests.contract import samples

Sample = NormSample | SketchSample | CoordinateSample | MatrixSample | ProgressSample

EMBEDDING = replace(samples.LAYER, name="embedding.weight", kind=Kind.EMBEDDING)


def _with(value: float, *where: int) -> Callable[[], np.ndarray]:
    def gradients() -> np.ndarray:
        made = samples.gaussian()
        made[where] = value
        return made

    return gradients


def _one_row() -> np.ndarray:
    made = samples.gaussian()
    made[:, :, 1:] = 0.0
    return made


def _rare_row() -> np.ndarray:
    made = samples.gaussian()
    made[4:, :, 0] = 0.0
    return made


def _silent_first_half() -> np.ndarray:
    made = samples.gaussian()
    made[:32] = 0.0
    return made


def _cauchy() -> np.ndarray:
    return np.random.default_rng(1).standard_cauchy((64, 4, samples.ROWS, samples.COLUMNS))


HEALTHY: dict[str, Callable[[], np.ndarray]] = {
    "gaussian": samples.gaussian,
    "cauchy": _cauchy,
    "small": lambda: 1e-18 * samples.gaussian(),
    "large": lambda: 1e12 * samples.gaussian(),
}
DEGENERATE: dict[str, Callable[[], np.ndarray]] = {
    "zeros": lambda: np.zeros_like(samples.gaussian()),
    "constant": lambda: np.full_like(samples.gaussian(), 0.25),
    "no noise, unequal entries": lambda: np.ones_like(samples.gaussian()) * np.arange(1.0, 1 + samples.COLUMNS),
    "nan": _with(math.nan, 3, 1, 2, 2),
    "inf": _with(math.inf, 3, 1, 2, 2),
    "all nan": lambda: np.full_like(samples.gaussian(), math.nan),
    "one spike": _with(1e15, 3, 1, 2, 2),
    "one entry": lambda: samples.gaussian()[:, :, :1, :1],
    "one row": lambda: samples.gaussian()[:, :, :1, :],
    "one column": lambda: samples.gaussian()[:, :, :, :1],
    "one row speaks": _one_row,
    "a row seen twice": _rare_row,
    "one example a draw": lambda: samples.gaussian()[:, :1],
    "silent first half": _silent_first_half,
    "denormal": lambda: 1e-40 * samples.gaussian(),
    "huge": lambda: 1e36 * samples.gaussian(),
}

every_statistic = pytest.mark.parametrize("statistic", STATISTICS, ids=lambda statistic: statistic.name)


def _pick(statistic: Statistic, made: LayerSamples) -> Sample | None:
    by_type: dict[type, Sample | None] = {
        NormSample: made.norms,
        SketchSample: made.sketch,
        CoordinateSample: made.coordinates,
        MatrixSample: made.matrix,
        ProgressSample: made.progress,
    }
    return by_type[statistic.needs]


def _subjects(statistic: Statistic, made: LayerSamples) -> list[Subject]:
    """The subject as it comes from a run, with and without the names and the model as a whole."""
    matrix = made.matrix
    layer = samples.LAYER if matrix is None else replace(samples.LAYER, shape=(matrix.rows, matrix.columns))
    draws = samples.draw_sample(*made.norms.example_sq_norms.shape)
    labels = tuple(f"token {row}" for row in range(layer.shape[0]))
    subjects = [
        Subject(layer=layer),
        Subject(layer=replace(EMBEDDING, shape=layer.shape), row_labels=labels, draws=draws),
        Subject(layer=layer, draws=draws, moving=True),
    ]
    if statistic.whole_model:
        optimizer = {"name": "adamw", "lr": 1e-3, "batch_size": 32, "clip_global_norm": 1.0}
        subjects.append(Subject(layer=None, draws=draws, optimizer=optimizer))
        subjects.append(Subject(layer=None, draws=draws, optimizer=optimizer, moving=True))
    return subjects


def _check(statistic: Statistic, subject: Subject, findings: Sequence[Finding]) -> list[Estimate]:
    estimates = [finding for finding in findings if isinstance(finding, Estimate)]
    verdicts = [finding for finding in findings if isinstance(finding, Verdict)]
    if findings:
        assert Counter(x.quantity for x in estimates) == Counter(statistic.quantities)
        assert Counter(x.question for x in verdicts) == Counter(statistic.questions)
    for verdict in verdicts:
        _check_verdict(subject, verdict)
    for estimate in estimates:
        assert estimate.layer == subject.name
        numbers = [x for x in (estimate.value, estimate.low, estimate.high, estimate.stderr) if x is not None]
        assert all(math.isfinite(x) for x in numbers), estimate
        assert all(type(x) is float for x in numbers), estimate
        if estimate.value is None:
            assert estimate.status is not Status.OK, estimate
            assert estimate.status.advice
        else:
            assert estimate.low is None or estimate.low <= estimate.value, estimate
            assert estimate.high is None or estimate.value <= estimate.high, estimate
            assert estimate.n > 0, estimate
        assert estimate.stderr is None or estimate.stderr >= 0.0, estimate
    return estimates


def _check_verdict(subject: Subject, verdict: Verdict) -> None:
    question = QUESTIONS[verdict.question]
    assert verdict.layer == subject.name
    assert verdict.q_value is None, "only comparing layers gives one"
    assert verdict.margin is None or math.isfinite(verdict.margin), verdict
    assert verdict.p_value is None or 0.0 <= verdict.p_value <= 1.0, verdict
    if verdict.answer is None:
        assert verdict.status is not Status.OK, verdict
        assert (verdict.runner_up, verdict.margin, verdict.p_value) == ("", None, None), verdict
    else:
        assert verdict.answer in question.answers, verdict
        assert verdict.runner_up in ("", *question.answers), verdict
        assert verdict.n > 0, verdict


def _run(statistic: Statistic, made: LayerSamples) -> list[Estimate]:
    sample = _pick(statistic, made)
    if sample is None:
        return []
    found: list[Estimate] = []
    for subject in _subjects(statistic, made):
        found += _check(statistic, subject, statistic.estimate(subject, sample))
    assert found, "does not apply to any subject"
    return found


def test_the_list_reports_each_quantity_once() -> None:
    named = Counter(quantity for statistic in STATISTICS for quantity in statistic.quantities)
    assert set(named.values()) == {1}
    assert set(named) == set(QUANTITIES) - set(KIND_QUANTITIES.values())
    assert list(KIND_QUANTITIES) == list(Kind)
    asked = Counter(question for statistic in STATISTICS for question in statistic.questions)
    assert set(asked.values()) <= {1}
    assert set(asked) == set(QUESTIONS)
    assert all(question.calm in question.answers for question in QUESTIONS.values())
    assert len({statistic.name for statistic in STATISTICS}) == len(STATISTICS)


def test_only_norms_have_a_whole_model() -> None:
    assert all(statistic.needs is NormSample for statistic in STATISTICS if statistic.whole_model)


@every_statistic
@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_data_give_a_number_or_a_bound(statistic: Statistic, case: str) -> None:
    found = _run(statistic, samples.layer_samples(HEALTHY[case]()))
    assert any(estimate.value is not None or estimate.low is not None for estimate in found)


@every_statistic
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_give_a_status(statistic: Statistic, case: str) -> None:
    _run(statistic, samples.layer_samples(DEGENERATE[case]()))


@every_statistic
@pytest.mark.parametrize("case", ["zeros", "all nan"])
def test_nothing_to_measure_gives_no_number(statistic: Statistic, case: str) -> None:
    found = _run(statistic, samples.layer_samples(DEGENERATE[case]()))
    assert [estimate for estimate in found if estimate.value is not None] == []


@every_statistic
@pytest.mark.parametrize("blocks", [1, 2, 4, 5, 7])
@pytest.mark.parametrize("draws_per_block", [2, 8])
def test_a_run_cut_off_early_gives_a_status(statistic: Statistic, blocks: int, draws_per_block: int) -> None:
    _run(statistic, samples.layer_samples(samples.gaussian(draws_per_block * blocks), blocks=blocks))


@every_statistic
def test_a_run_cut_off_at_once_gives_no_number(statistic: Statistic) -> None:
    found = _run(statistic, samples.no_samples())
    assert [estimate for estimate in found if estimate.value is not None] == []


@every_statistic
def test_the_same_sample_gives_the_same_estimates(statistic: Statistic) -> None:
    made = samples.layer_samples(samples.gaussian())
    assert _run(statistic, made) == _run(statistic, made)


@every_statistic
def test_the_sample_is_left_as_it_was(statistic: Statistic) -> None:
    made = samples.layer_samples(samples.gaussian())
    _freeze(made)
    _run(statistic, made)


def _freeze(record: object) -> None:
    """Make every array of a record and its records read-only."""
    if isinstance(record, np.ndarray):
        record.setflags(write=False)
    elif isinstance(record, tuple):
        for item in record:
            _freeze(item)
    elif is_dataclass(record):
        for field in fields(record):
            _freeze(getattr(record, field.name))
