"""Which law a layer's noise follows, in both views, with the runner-up and how close it was.

Laws are fitted to the sketches and compared by what they say about blocks of draws that they have not seen
(:mod:`gnoise.stats.laws`). Across draws every law carries the error of the scales that entries were divided by, without
which Gaussian noise would read as Student's t.
"""

import numpy as np

from gnoise.records import Estimate, Finding, Sketch, SketchSample, Status, Verdict
from gnoise.stats.intervals import Interval, clip_interval, estimate_of, jackknife_stderr, no_estimate, t_interval
from gnoise.stats.laws import Comparison, LawFit, compare_laws
from gnoise.stats.statistic import Statistic, Subject

_FEWEST_VALUES = 500
_CALM = "gaussian"
_SMALL = 1e-4


def judge_tails(subject: Subject, sample: SketchSample) -> list[Finding]:
    """Name the law of the noise in each view; report how far the noise itself is from Gaussian, and two shapes.

    A view of fewer than 500 non-zero values or fewer than three blocks gets no answer. ``n`` is the number of blocks.

    Args:
        subject: the layer.
        sample: its sketches, one a block.
    """
    entries = _compare(sample.entries, None)
    silent = entries.status is Status.ALL_ZERO
    draws = entries if silent else _compare(sample.draws, sample.scale_pairs or None)  # 0 before the first sketch
    return [
        _verdict(subject.name, "tails_entries", entries, len(sample.entries)),
        _verdict(subject.name, "tails_draws", draws, len(sample.draws)),
        _departure(subject.name, draws, len(sample.draws)),
        _shape(subject.name, "student_nu_draws", draws, len(sample.draws)),
        _shape(subject.name, "contamination_draws", draws, len(sample.draws)),
    ]


def _compare(sketches: tuple[Sketch, ...], scale_values: int | None) -> Comparison:
    filled = [sketch for sketch in sketches if sketch.counts.size or sketch.nonfinite or sketch.zeros]
    return compare_laws(filled, scale_values=scale_values)


def _status(comparison: Comparison) -> Status:
    few = comparison.status is Status.OK and comparison.n < _FEWEST_VALUES
    return Status.TOO_FEW_VALUES if few else comparison.status


def _verdict(name: str | None, question: str, comparison: Comparison, blocks: int) -> Verdict:
    status = _status(comparison)
    if status is not Status.OK:
        return Verdict(name, question, None, "", None, None, blocks, status)
    return Verdict(
        layer=name,
        question=question,
        answer=comparison.answer,
        runner_up=comparison.runner_up,
        margin=comparison.margin,
        p_value=comparison.p_value,
        n=blocks,
        status=Status.OK,
        note=_words(comparison),
    )


def _words(comparison: Comparison) -> str:
    """Say what shape the law has, how far it stays from the data, and what there is beyond a Gaussian."""
    fit = comparison.candidates[comparison.answer].fit
    shapes = [f"{name} {value:.3g}" for name, value in fit.params.items() if name != "scale"]
    beyond = [] if fit.law == _CALM else [f"{comparison.gain:.2g} nats a value beyond a Gaussian"]
    return ", ".join([*shapes, *beyond, f"KS distance {fit.ks:.2g}", f"{comparison.n_effective:.2g} effective values"])


def _departure(name: str | None, comparison: Comparison, blocks: int) -> Estimate:
    """Report what the best other law gains on the Gaussian, in nats a value, from held-out differences by block."""
    status = _status(comparison)
    if status is not Status.OK:
        return no_estimate(name, "departure_draws", status, blocks)
    others = [candidate for law, candidate in comparison.candidates.items() if law != _CALM]
    best = max(others, key=lambda candidate: float(candidate.held_out.sum()))
    gains = (best.held_out - comparison.candidates[_CALM].held_out) * (best.held_out.size / comparison.n)
    stderr = float(gains.std(ddof=1) / np.sqrt(gains.size))
    interval = t_interval(float(gains.mean()), stderr, gains.size - 1)
    return estimate_of(name, "departure_draws", interval, blocks, best.law.words)


def _shape(name: str | None, quantity: str, comparison: Comparison, blocks: int) -> Estimate:
    """Report one shape with its jackknife interval, taken in the coordinate of the fit.

    Where the Gaussian answers, or the fit ends where its law is Gaussian, there is no shape (``NOT_HEAVY``).
    """
    status = _status(comparison)
    if status is not Status.OK:
        return no_estimate(name, quantity, status, blocks)
    law = "student_t" if quantity == "student_nu_draws" else "contaminated"
    candidate = comparison.candidates[law]
    shape = candidate.law.shapes[0]
    fitted = shape.forward(candidate.fit.params[shape.name])
    calm_end = shape.grid[-1] if law == "student_t" else shape.grid[0]
    if comparison.answer == _CALM or np.isclose(fitted, calm_end):
        return no_estimate(name, quantity, Status.NOT_HEAVY, blocks)
    stderr = jackknife_stderr(candidate.left_out[:, 1])
    if stderr <= 0.0:
        return no_estimate(name, quantity, Status.NOT_CONVERGED, blocks)
    ends = clip_interval(t_interval(fitted, stderr, blocks - 1), float(shape.grid[0]), float(shape.grid[-1]))
    slope = (shape.backward(fitted + _SMALL) - shape.backward(fitted - _SMALL)) / (2.0 * _SMALL)
    interval = Interval(shape.backward(fitted), slope * stderr, shape.backward(ends.low), shape.backward(ends.high))
    return estimate_of(name, quantity, interval, blocks, _besides(candidate.fit))


def _besides(fit: LawFit) -> str:
    """Name the ratio of widths that goes with a share."""
    return f"{fit.params['ratio']:.3g} times as wide as the rest" if "ratio" in fit.params else ""


STATISTIC = Statistic(
    name="tail laws",
    needs=SketchSample,
    quantities=("departure_draws", "student_nu_draws", "contamination_draws"),
    estimate=judge_tails,
    questions=("tails_entries", "tails_draws"),
)
