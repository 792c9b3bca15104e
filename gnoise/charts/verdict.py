"""The verdict: what the noise does to this model, why we think so, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

from gnoise.charts.phrases import interval, number, plural, sentence
from gnoise.records import Estimate, Layer, Recommendation, Remedy, RunInfo

_SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees.

    Attributes:
        headline: one sentence.
        why: the evidence, a line each, with numbers and intervals.
        next: what to do, a line each, as things to type where there are any.
    """

    headline: str
    why: tuple[str, ...]
    next: tuple[str, ...]


def verdict(
    info: RunInfo,
    layers: Sequence[Layer],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
    *,
    run: str = "RUN",
) -> Verdict:
    """Put a run's findings into words.

    Args:
        info: what was run.
        layers: of the run.
        estimates: all of them.
        recommendations: all of them; at most one for the model and one a layer.
        run: path of the run file, for the commands under ``next``.
    """
    if not estimates or not recommendations:
        return Verdict("Nothing was analysed yet.", (), (f"gnoise analyze {run}",))
    model = {e.quantity: e for e in estimates if e.layer is None}
    active = [r for r in recommendations if r.remedy is not Remedy.NONE]
    return Verdict(
        headline=_headline(info, model, len(layers), active),
        why=_why(info, model, estimates, recommendations),
        next=_next(info, model, active, run),
    )


def batch_in_use(info: RunInfo) -> int | None:
    """Examples behind one optimizer step of the training the checkpoint came from, where it says so."""
    batch, steps = info.optimizer.get("batch_size"), info.optimizer.get("gradient_accumulation_steps", 1)
    return batch * steps if isinstance(batch, int) and isinstance(steps, int) else None


def _headline(info: RunInfo, model: dict[str, Estimate], layers: int, active: Sequence[Recommendation]) -> str:
    scale = _scale_words(info, model.get("b_simple"))
    own = next((r for r in active if r.layer is None), None)
    treated = [r for r in active if r.layer is not None]
    if own is not None:
        what = "A few draws are far louder than the rest" if _is_draws(own) else "A few examples are far louder than the rest"
        tail = f"; {len(treated)} of {layers} layers ask for a remedy of their own" if treated else ""
        return f"{what}: {own.remedy} the whole model{tail}. {scale}"
    if treated:
        kinds = ", ".join(sorted({str(r.remedy) for r in treated}))
        return f"{len(treated)} of {layers} layers ask for a remedy ({kinds}); the rest need none. {scale}"
    return f"No remedy needed: averaging suffices in every layer that could be judged. {scale}"


def _is_draws(recommendation: Recommendation) -> bool:
    return recommendation.because[0].quantity == "spike_ratio"


def _scale_words(info: RunInfo, scale: Estimate | None) -> str:
    if scale is None or scale.value is None:
        return "The noise scale cannot be told apart from infinity at this many draws."
    unit = plural(info.example)
    batch = batch_in_use(info)
    against = "" if batch is None else f", against a batch of {batch} in training"
    return f"Noise scale {number(scale.value)} {unit} ({interval(scale)}){against}."


def _why(
    info: RunInfo,
    model: dict[str, Estimate],
    estimates: Sequence[Estimate],
    recommendations: Sequence[Recommendation],
) -> tuple[str, ...]:
    lines: list[str] = []
    if "b_simple" in model:
        tokens = info.tokens_per_example
        value = model["b_simple"].value
        in_tokens = f" = {number(value * tokens)} tokens" if tokens and value is not None else ""
        lines.append(sentence(model["b_simple"], unit=plural(info.example) + in_tokens))
    for name in ("spike_ratio", "example_spike_ratio", "clip_rate"):
        if name in model:
            note = f" — {model[name].note}" if model[name].note else ""
            lines.append(sentence(model[name]) + note)
    lines += [line for line in (_tails(estimates), _rows(estimates)) if line]
    active = [r for r in recommendations if r.remedy is not Remedy.NONE and r.layer is not None]
    lines += [f"{r.layer}: {r.remedy}, because {r.reason}" for r in active[:_SHOWN]]
    if len(active) > _SHOWN:
        lines.append(f"and {len(active) - _SHOWN} more layers")
    return tuple(lines)


def _tails(estimates: Sequence[Estimate]) -> str:
    """Say what the three views of the tails agree on."""
    pooled = _lowest(estimates, "alpha_entries")
    own = _lowest(estimates, "alpha_draws")
    slopes = [e for e in estimates if e.quantity == "averaging_slope" and e.value is not None]
    if pooled is None or own is None or not slopes:
        return ""
    survivors = [e for e in slopes if e.low is not None and e.low > -0.40]
    surviving = (
        f"averaging is slower than Gaussian in {len(survivors)} of {len(slopes)} layers"
        if survivors
        else f"in all {len(slopes)} layers judged averaging works as on Gaussian noise, or nearly"
    )
    return (
        f"tails: pooled entries read as low as α {pooled.value:.2f} ({pooled.layer}), with each entry's own scale taken "
        f"out the lowest is {own.value:.2f} ({own.layer}); {surviving}"
    )


def _rows(estimates: Sequence[Estimate]) -> str:
    loudest = [e for e in estimates if e.quantity == "row_dispersion" and e.value is not None and e.note]
    if not loudest:
        return ""
    worst = max(loudest, key=lambda e: e.value or 0.0)
    return f"loudest rows: {worst.layer} {worst.note}"


def _lowest(estimates: Sequence[Estimate], quantity: str) -> Estimate | None:
    known = [e for e in estimates if e.quantity == quantity and e.value is not None]
    return min(known, key=lambda e: e.value or 0.0, default=None)


def _next(
    info: RunInfo, model: dict[str, Estimate], active: Sequence[Recommendation], run: str
) -> tuple[str, ...]:
    lines: list[str] = []
    scale, batch = model.get("b_simple"), batch_in_use(info)
    if any(r.layer is None for r in active) and model.get("example_spike_ratio") is not None:
        lines.append("read the loud examples above before anything else: a data fault needs no optimizer")
    if scale is not None and scale.value is not None and batch is not None:
        lines.append(_batch_advice(scale, batch, plural(info.example)))
    if scale is not None and scale.value is None:
        lines.append(f"gnoise profile {info.source} --draws {4 * info.draws}   # settles the noise scale")
    if active:
        lines.append(f"gnoise export {run} --format json   # the remedies, with their evidence")
    lines.append(f"gnoise show {run} LAYER   # one layer, every number")
    lines.append(f"gnoise app {run}   # the same in a browser")
    return tuple(lines)


def _batch_advice(scale: Estimate, batch: int, unit: str) -> str:
    low = scale.low if scale.low is not None else 0.0
    caveat = "B_simple is not the measured critical batch"
    if low > 2 * batch:
        return f"a larger batch still buys nearly proportional progress per step above {batch} {unit} ({caveat})"
    if scale.high is not None and scale.high < batch / 2:
        return f"a batch of {batch} {unit} averages more than it needs to: a smaller one buys the same ({caveat})"
    return f"a batch of {batch} {unit} is near the noise scale: no change indicated ({caveat})"
