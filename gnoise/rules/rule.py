"""What a rule sees and says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gnoise.records import (
    Estimate,
    Evidence,
    EvidenceRole,
    JsonValue,
    Layer,
    Recommendation,
    Remedy,
    Severity,
    Status,
    Verdict,
)

Estimates = Mapping[str, Estimate]
"""Quantity to estimate, of one layer or of the model."""


@dataclass(frozen=True)
class Findings:
    """Everything a rule may look at.

    Attributes:
        layer: the layer in question; ``None`` for the whole model.
        own: its estimates.
        peers: estimates of the other layers of its kind, and of its own.
        verdicts: its answers, by question.
        evidence: what remedies would have bought it; empty in a run of before that was asked.
        path_steps: of the optimizer that the weights took meanwhile; 0 where they were frozen.
        under: words for the optimizer that remedies were judged under; empty where it is the checkpoint's own.
    """

    layer: Layer | None
    own: Estimates
    peers: tuple[Estimates, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    path_steps: int = 0
    under: str = ""

    @property
    def judged_words(self) -> str:
        """Say, after a gain, under which optimizer; nothing where it is the checkpoint's own."""
        return f", judged {self.under}" if self.under else ""

    def basis(self, draws: int) -> str:
        """Say which kind of evidence gains rest on."""
        if self.path_steps:
            return (
                f"this is what {draws} draws say along {self.path_steps} steps from these weights, without a "
                f"remedy{self.judged_words}: where a remedy would lead they do not see"
            )
        return (
            f"this is what {draws} draws say of these weights, frozen{self.judged_words}: what a remedy prevents later "
            "they do not see"
        )

    @property
    def best(self) -> Evidence | None:
        """The best of all remedies, chosen and judged on different draws; a status where none could be judged."""
        return next((each for each in self.evidence if each.role is EvidenceRole.BEST), None)

    @property
    def judged(self) -> bool:
        """Whether gains are known, so that no threshold has to stand in for them."""
        return self.best is not None and self.best.gain is not None

    @property
    def ladder(self) -> tuple[Evidence, ...]:
        """One entry a remedy, the largest gain first."""
        rungs = [each for each in self.evidence if each.role is EvidenceRole.REMEDY]
        return tuple(sorted(rungs, key=lambda each: each.gain or 0.0, reverse=True))

    @property
    def anchors(self) -> tuple[Evidence, ...]:
        """What a larger batch would buy."""
        return tuple(each for each in self.evidence if each.remedy == "batch")

    def bounded_below(self, quantity: str) -> tuple[Estimate, float, float] | None:
        """Return an estimate with its value and the low end of its interval, if it has both."""
        estimate = self.own.get(quantity)
        if estimate is None or estimate.value is None or estimate.low is None:
            return None
        return estimate, estimate.value, estimate.low

    def usable(self, quantity: str) -> Estimate | None:
        """Return an estimate that has a number and both ends of its interval; else ``None``."""
        found = self.bounded_below(quantity)
        return None if found is None or found[0].high is None else found[0]

    def recommendation(
        self,
        remedy: Remedy,
        reason: str,
        *because: Estimate | None,
        params: Mapping[str, JsonValue] | None = None,
        status: Status = Status.OK,
        severity: Severity = Severity.INFO,
        evidence: Evidence | None = None,
        alternatives: tuple[str, ...] = (),
        unless: str = "",
    ) -> Recommendation:
        """Make this subject's recommendation; ``None`` among the evidence is dropped."""
        return Recommendation(
            scope="model" if self.layer is None else "layer",
            layer=None if self.layer is None else self.layer.name,
            remedy=remedy,
            params=params or {},
            status=status,
            reason=reason if evidence is None else f"{reason}{self.judged_words}",
            because=tuple(estimate for estimate in because if estimate is not None),
            severity=severity,
            gain_low=None if evidence is None else evidence.low,
            gain_high=None if evidence is None else evidence.high,
            gain=None if evidence is None else evidence.gain,
            alternatives=alternatives,
            unless=unless,
            tokens_saved=None if evidence is None else evidence.tokens_saved,
            tokens_saved_low=None if evidence is None else evidence.tokens_saved_low,
            tokens_saved_high=None if evidence is None else evidence.tokens_saved_high,
        )


Rule = Callable[[Findings], Recommendation | None]
