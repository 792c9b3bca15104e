"""The first screen in words: what the noise does to this model, why we think so, what to do next."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gnoise.charts.answers import answer_lines
from gnoise.charts.ladder import judged_words, ladder_line
from gnoise.charts.phrases import interval, number, plural, sentence
from gnoise.records import Estimate, Evidence, Recommendation, Remedy, RunInfo, RunState, Severity, Status, Verdict
from gnoise.rules.diagnosis import SLOPE
from gnoise.rules.matters import interval_words, saving_words
from gnoise.rules.none_needed import averaging_suffices

_SHOWN = 3
_OFTEN = 0.5
_MODEL_LINES = ("draw_norm", "clip_rate", "spike_ratio", "quiet_example_share")


@dataclass(frozen=True)
class Summary:
    """The first thing a reader sees.

    Attributes:
        headline: one sentence.
        why: the evidence, a line each, with numbers and intervals.
        next: what to do, a line each, as things to type where there are any.
    """

    headline: str
    why: tuple[str, ...]
    next: tuple[str, ...]


def summary(
    info: RunInfo,
    estimates: Sequence[Estimate],
    verdicts: Sequence[Verdict],
    recommendations: Sequence[Recommendation],
    evidence: Sequence[Evidence] = (),
    *,
    run: str = "RUN",
    state: RunState = RunState.COMPLETE,
) -> Summary:
    """Put a run's findings into words.

    Args:
        info: what was run.
        estimates: all of them.
        verdicts: all of them.
        recommendations: all of them; at most one for the model and one a layer.
        evidence: all of it; empty in a run of before remedies were judged.
        run: path of the run file, for the commands under ``next``.
        state: how far collection came.
    """
    if not estimates or not recommendations:
        return Summary("Nothing was analysed yet.", (), (f"gnoise analyze {shlex.quote(run)}",))
    model = {e.quantity: e for e in estimates if e.layer is None}
    active = [r for r in recommendations if r.remedy is not Remedy.NONE]
    return Summary(
        headline=_headline(info, model, estimates, recommendations),
        why=_why(info, model, estimates, verdicts, recommendations, evidence, state),
        next=_next(info, model, active, shlex.quote(run)),
    )


def _headline(
    info: RunInfo,
    model: dict[str, Estimate],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
) -> str:
    treated = [r for r in recommendations if r.layer is not None and r.remedy is not Remedy.NONE]
    layers = sum(r.layer is not None for r in recommendations)
    own = next((r for r in recommendations if r.layer is None), None)
    parts: list[str] = []
    if own is not None and own.severity is not Severity.INFO:
        parts.append(_model_words(own, plural(info.example)))
    if treated:
        kinds = " or ".join(sorted({str(r.remedy) for r in treated}))
        ask = "layers asks" if len(treated) == 1 else "layers ask"
        parts.append(f"{len(treated)} of {layers} {ask} for a remedy ({kinds}); the rest need none.")
    if not parts:
        parts.append(f"No remedy indicated. {_averaging_words(estimates)}.")
    return " ".join([*parts, _scale_words(info, model.get("b_simple"))])


def _model_words(recommendation: Recommendation, examples: str) -> str:
    """Put the whole model's warning into one sentence, by the estimate it rests on."""
    first = recommendation.because[0]
    value = first.value or 0.0
    gain = recommendation.gain
    if first.quantity == "quiet_example_share":
        return f"{value:.1%} of the {examples} teach next to nothing, as a data fault does: read them first."
    if first.quantity == "example_spike_ratio":
        treated = recommendation.remedy is not Remedy.NONE
        then = f", and {recommendation.remedy} until they are gone" if treated else ""
        return (
            f"A few {examples} have gradients up to {value:.1f} times the median, as a data fault does: "
            f"read them first{then}."
        )
    if gain is not None:
        return (
            f"{recommendation.remedy} for the whole model would have bought {gain:.2f} times the progress per step"
            f"{_saving(recommendation)}."
        )
    return f"A few draws are up to {value:.1f} times as loud as the median: {recommendation.remedy} the whole model."


def _averaging_words(estimates: Sequence[Estimate]) -> str:
    slopes = [e for e in estimates if e.quantity == "averaging_slope" and e.value is not None]
    if not slopes:
        return "No layer could be judged at this many draws"
    gaussian = sum(averaging_suffices(slope) for slope in slopes)
    return f"Averaging narrows the noise about as it does Gaussian noise in {gaussian} of {len(slopes)} layers judged"


def _scale_words(info: RunInfo, scale: Estimate | None) -> str:
    if scale is None:
        return "The noise scale was not estimated."
    if scale.value is None:
        return f"Noise scale unknown: {scale.status.advice}."
    unit = plural(info.example)
    batch = info.training_batch
    against = "" if batch is None else f", against a batch of {batch} in training"
    return f"Noise scale {number(scale.value)} {unit} ({interval(scale)}){against}."


def _why(
    info: RunInfo,
    model: dict[str, Estimate],
    estimates: Sequence[Estimate],
    verdicts: Sequence[Verdict],
    recommendations: Sequence[Recommendation],
    evidence: Sequence[Evidence],
    state: RunState,
) -> tuple[str, ...]:
    warnings = [r for r in recommendations if r.layer is None and r.severity is not Severity.INFO]
    lines = [] if state is RunState.COMPLETE else [_unfinished(info, model, state)]
    lines += [r.reason for r in warnings]
    active = [r for r in recommendations if r.remedy is not Remedy.NONE and r.layer is not None]
    lines += _gains(info, active, evidence)
    if info.examples is not None and info.draws * info.examples_per_draw > info.examples:
        lines.append(
            f"only {info.examples} examples were there for {info.draws * info.examples_per_draw} to draw: "
            "intervals are shorter than they should be"
        )
    if "b_simple" in model:
        tokens = info.tokens_per_example
        value = model["b_simple"].value
        in_tokens = f" = {number(value * tokens)} tokens" if tokens and value is not None else ""
        lines.append(sentence(model["b_simple"], unit=plural(info.example) + in_tokens))
    told = {r.because[0].quantity for r in warnings}
    lines += [
        _with_note(model[name])
        for name in _MODEL_LINES
        if name in model and name not in told and model[name].value != 0
    ]
    lines += _tails(estimates) + answer_lines(verdicts)
    return tuple(lines)


def _gains(info: RunInfo, active: Sequence[Recommendation], evidence: Sequence[Evidence]) -> list[str]:
    """Say what remedies would buy the model, then the first of the layers that have one."""
    told = [_told(r) for r in active[:_SHOWN]]
    of_model, words = ladder_line(evidence, info=info), judged_words(info)
    lines = [of_model] if of_model else [f"remedies are{words.removeprefix(',')}"] if words and told else []
    more = len(active) - _SHOWN
    return [*lines, *told, *([f"and {more} more layers"] if more > 0 else [])]


def _told(recommendation: Recommendation) -> str:
    """Say a layer's remedy with its gain, or with its reason where no gain is known."""
    if recommendation.gain is None:
        return f"{recommendation.layer}: {recommendation.remedy}, because {recommendation.reason}"
    interval = interval_words(recommendation.gain_low, recommendation.gain_high)
    return (
        f"{recommendation.layer}: {recommendation.remedy} would have bought {recommendation.gain:.2f} times the "
        f"progress per step ({interval}){_saving(recommendation)}"
    )


def _saving(recommendation: Recommendation) -> str:
    return f", {words}" if (words := saving_words(recommendation)) else ""


def _unfinished(info: RunInfo, model: dict[str, Estimate], state: RunState) -> str:
    drawn = model["draw_norm"].n if "draw_norm" in model else 0
    return f"this run is {state}: {drawn} of {info.draws} draws; everything below rests on those"


def _with_note(estimate: Estimate) -> str:
    return f"{sentence(estimate)} — {estimate.note}" if estimate.note else sentence(estimate)


def _tails(estimates: Sequence[Estimate]) -> list[str]:
    """Say what the three views of the tails agree on."""
    pooled = _lowest(estimates, "alpha_entries")
    own = None if pooled is None else _lowest([e for e in estimates if e.layer == pooled.layer], "alpha_draws")
    slopes = [e for e in estimates if e.quantity == "averaging_slope" and e.value is not None]
    if pooled is None or own is None or not slopes:
        return []
    slow = [e for e in slopes if e.low is not None and e.low > SLOPE]
    named = ", ".join(str(e.layer) for e in slow[:_SHOWN]) + (", …" if len(slow) > _SHOWN else "")
    surviving = (
        f"averaging is surely slower than on Gaussian noise in {named}"
        if slow
        else f"averaging works as on Gaussian noise, or nearly, in all {len(slopes)} layers judged"
    )
    return [
        f"tails: pooled entries look heaviest in {pooled.layer} (α {pooled.value:.2f}); with each entry's own scale "
        f"taken out it is {own.value:.2f}; {surviving}"
    ]


def _lowest(estimates: Sequence[Estimate], quantity: str) -> Estimate | None:
    known = [e for e in estimates if e.quantity == quantity and e.value is not None]
    return min(known, key=lambda e: e.value or 0.0, default=None)


def _next(info: RunInfo, model: dict[str, Estimate], active: Sequence[Recommendation], run: str) -> tuple[str, ...]:
    lines: list[str] = []
    scale, batch, clip = model.get("b_simple"), info.training_batch, model.get("clip_rate")
    if scale is not None and scale.value is not None and batch is not None:
        lines.append(_batch_advice(scale, batch, plural(info.example)))
    if scale is not None and scale.value is None and scale.status in (Status.NO_SIGNAL, Status.TOO_FEW_DRAWS):
        lines.append(f"gnoise profile {shlex.quote(info.source)} --draws {4 * info.draws}   # narrows the noise scale")
    if clip is not None and clip.low is not None and clip.low > _OFTEN:
        lines.append(
            f"clip_global_norm {info.optimizer['clip_global_norm']} cuts most draws: it sets the step size, it catches "
            "no spikes; raise it above the 95th percentile, or own it as normalisation"
        )
    if active:
        lines.append(f"gnoise export {run} --format json   # the remedies, with their evidence")
    lines.append(f"gnoise show {run} LAYER   # one layer, every number")
    lines.append(f"gnoise app {run}   # the same in a browser")
    return tuple(lines)


def _batch_advice(scale: Estimate, batch: int, unit: str) -> str:
    low, high = scale.low or 0.0, scale.high
    caveat = "B_simple is not the measured critical batch"
    if low > 2 * batch:
        return f"more than {batch} {unit} a batch still buys progress per step, if less than in proportion ({caveat})"
    if high is not None and high < batch / 2:
        return f"a batch of {batch} {unit} averages more than it needs to: a smaller one buys the same ({caveat})"
    if high is not None and batch / 4 <= low and high <= 4 * batch:
        return f"a batch of {batch} {unit} is near the noise scale: no change indicated ({caveat})"
    return (
        f"a batch of {batch} {unit} cannot be placed against the noise scale yet: profile with more --draws ({caveat})"
    )
