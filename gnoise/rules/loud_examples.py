"""Single examples far above the rest: a data fault until shown otherwise."""

from gnoise.records import Recommendation, Remedy, Severity
from gnoise.rules.by_evidence import alternatives, gain_words
from gnoise.rules.matters import SAVES, surely_matters
from gnoise.rules.rule import Findings

LOUD = 3.0
"""One-example gradient norms this many times the median, at the low end, are loud enough to matter."""
SHARE = 0.001
"""And surely more than this share of the examples lies outside of the run's own spread of norms."""


def recommend(findings: Findings) -> Recommendation | None:
    """Warn where single examples, not draws, are out of line, with the remedy that pays, or the stabilizer unjudged.

    Norms that are merely widely spread do not count: the examples must stand apart from the spread
    of all the others. Judged on the whole model only: one example's share of one small tensor says
    little. The reason names the examples, because reading them comes before any remedy.
    """
    loud, apart = findings.bounded_below("example_spike_ratio"), findings.bounded_below("loud_example_share")
    if findings.layer is not None or loud is None or apart is None or loud[2] < LOUD or apart[2] < SHARE:
        return None
    estimate, value, low = loud
    named = f": {estimate.note}" if estimate.note else ""
    words = (
        f"{apart[1]:.1%} of the examples have gradients far outside of the others' spread, up to {value:.1f} times the "
        f"median (95% interval from {low:.1f}){named}; read them first"
    )
    because = (estimate, apart[0], findings.usable("spike_ratio"))
    best = findings.best
    if best is None or best.gain is None:
        return findings.recommendation(
            Remedy.STABILIZE,
            f"{words}, until they are gone the stabilizer bounds what they do",
            *because,
            params={"gammas": [0.6, 0.999], "max_ratio": 1.0},
            severity=Severity.WARNING,
        )
    if not surely_matters(best):
        return findings.recommendation(
            Remedy.NONE,
            f"{words}; that bounding them saves tokens is not sure ({best.remedy}: {gain_words(best)})",
            *because,
            severity=Severity.WARNING,
            alternatives=alternatives(findings, None),
            unless=f"a remedy that surely saves {SAVES:.0%} of tokens",
        )
    return findings.recommendation(
        Remedy(best.remedy),
        f"{words}; until they are gone {best.remedy} ({best.setting}) would buy {gain_words(best)}",
        *because,
        params=best.params,
        severity=Severity.WARNING,
        evidence=best,
        alternatives=alternatives(findings, best),
        unless="the loud examples are faults and leave the data",
    )
