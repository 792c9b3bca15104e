"""What a rule sees and says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gnoise.records import Estimate, JsonValue, Layer, Recommendation, Remedy, Severity, Status

Estimates = Mapping[str, Estimate]
"""Quantity to estimate, of one layer or of the model."""


@dataclass(frozen=True)
class Findings:
    """Everything a rule may look at.

    Attributes:
        layer: the layer in question; ``None`` for the whole model.
        own: its estimates.
        peers: estimates of the other layers of its kind, and of its own.
    """

    layer: Layer | None
    own: Estimates
    peers: tuple[Estimates, ...] = ()

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
    ) -> Recommendation:
        """Make this subject's recommendation; ``None`` among the evidence is dropped."""
        return Recommendation(
            scope="model" if self.layer is None else "layer",
            layer=None if self.layer is None else self.layer.name,
            remedy=remedy,
            params=params or {},
            status=status,
            reason=reason,
            because=tuple(estimate for estimate in because if estimate is not None),
            severity=severity,
        )


Rule = Callable[[Findings], Recommendation | None]
