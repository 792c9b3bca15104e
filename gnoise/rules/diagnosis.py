"""Why a layer's noise is what it is, in words: the verdicts behind a gain."""

from dataclasses import dataclass

from gnoise.records import Estimate
from gnoise.rules.matters import slower
from gnoise.rules.noise_ratio import RATIO, noise_ratio
from gnoise.rules.rule import Findings

SPIKE = 3.0
"""Draw norms this many times the median, at the low end of the interval, count as spikes."""
SLOPE = -0.40
"""Averaging must be slower than this at the low end of the interval: alpha below 1.67."""
ALPHA = 1.9
"""And the standardised noise itself heavier than this at the high end."""
_LOCALIZED = {
    "rows": "some rows",
    "columns": "some columns",
    "entries": "single entries",
    "low_rank": "a few directions",
}


@dataclass(frozen=True)
class Diagnosis:
    """What stands out in a layer, or in the model.

    Attributes:
        causes: short names, the loudest first; empty where nothing stands out.
        words: the same for people, without a full stop.
        because: the estimates behind it.
    """

    causes: tuple[str, ...]
    words: str
    because: tuple[Estimate, ...]


def diagnose(findings: Findings) -> Diagnosis:
    """Name what stands out: spikes, heavy tails, where the noise sits, a layer noisier than its kind."""
    own = findings.own
    slope, alpha, spike = own.get("averaging_slope"), own.get("alpha_draws"), findings.bounded_below("spike_ratio")
    said: list[tuple[str, str]] = []
    if spike is not None and spike[2] >= SPIKE:
        said.append(("spikes", f"the loudest draw is {spike[1]:.1f} times the median"))
    if slope is not None and slope.value is not None and slope.low is not None and slope.low > SLOPE:
        said.append(
            ("heavy tail", f"averaging k draws narrows this noise only as k^{slope.value:.2f} (Gaussian: k^-0.50)")
        )
    if alpha is not None and alpha.value is not None and alpha.high is not None and alpha.high <= ALPHA:
        said.append(("heavy tail", f"with unequal scales taken out its tail index is {alpha.value:.2f}"))
    localized = findings.verdicts.get("localization")
    if localized is not None and localized.answer in _LOCALIZED:
        named = f" ({localized.note})" if localized.note else ""
        said.append((localized.answer.replace("_", " "), f"its noise sits in {_LOCALIZED[localized.answer]}{named}"))
    ratio = noise_ratio(findings)
    if ratio is not None and ratio.low >= RATIO:
        said.append(("noisy layer", f"its noise scale is {ratio.value:.0f} times the median of its family"))
    elif slower(findings) is not None:
        said.append(("noisy layer", "a smaller learning rate here would buy the whole model something"))
    names = ("spike_ratio", "averaging_slope", "alpha_draws", "b_simple")
    return Diagnosis(
        causes=tuple(dict.fromkeys(cause for cause, _ in said)),
        words="; ".join(words for _, words in said) or "no one cause stands out",
        because=tuple(own[name] for name in names if name in own),
    )
