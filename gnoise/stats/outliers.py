"""Examples whose gradient is out of line with all the others', small or large.

Both sides are judged against the run's own spread of log norms, so norms that are merely widely spread, as
those of a model that fits most examples perfectly, count for nothing.

Small *and* of ordinary or high loss is how encoded or random text ends: once a model has learnt how often
each symbol comes, nothing is left to learn. (Small with a small loss is an example that is known already.)
Large and apart from the rest is how junk begins.
"""

import numpy as np
from jaxtyping import Bool, Float

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.intervals import no_estimate
from gnoise.stats.level import over_level
from gnoise.stats.spikes import binomial_interval
from gnoise.stats.statistic import Statistic, Subject

QUIET = 3.0
"""Robust standard deviations of the log norm below its median."""
LOUD = 5.0
"""And above it: further out, because heavy tails on this side are ordinary."""
FEWEST_EXAMPLES = 100
_MAD_TO_SD = 1.4826
_NAMED = 5
_QUANTITIES = ("quiet_example_share", "loud_example_share")


def estimate_outliers(subject: Subject, sample: NormSample) -> list[Estimate]:
    r"""Estimate the shares of examples whose gradient is far smaller, or far larger, than the rest.

    Scores are $(\ln\|g_i\| - \mathrm{median}) / (1.4826\,\mathrm{MAD})$. Quiet is a score below −3 with a loss at or
    above the median (of lognormal norms, free of the loss, 0.07% are); loud is a score above 5. Intervals are
    Clopper–Pearson's. Where weights move, norms are taken over their level.

    Args:
        subject: the whole model, with its draws; nothing is reported for a layer.
        sample: its norms. An exactly zero gradient is quiet.
    """
    if subject.layer is not None or subject.draws is None:
        return []
    sq_norms = (over_level(sample.example_sq_norms) if subject.moving else sample.example_sq_norms).ravel()
    scores = robust_scores(sq_norms)
    if isinstance(scores, Status):
        return [no_estimate(None, quantity, scores, sq_norms.size) for quantity in _QUANTITIES]
    losses = subject.draws.example_losses.ravel()
    quiet = (scores < -QUIET) & (losses >= np.median(losses))
    return [
        _share(subject, "quiet_example_share", quiet, scores),
        _share(subject, "loud_example_share", scores > LOUD, -scores),
    ]


def robust_scores(sq_norms: Float[np.ndarray, " examples"]) -> Float[np.ndarray, " examples"] | Status:
    """Place each example's log norm among the others', in robust standard deviations; or say why not."""
    if sq_norms.size < FEWEST_EXAMPLES:
        return Status.TOO_FEW_DRAWS
    if not np.isfinite(sq_norms).all():
        return Status.NON_FINITE
    if not sq_norms.any():
        return Status.ALL_ZERO
    logs = 0.5 * np.log(np.maximum(sq_norms, np.finfo(np.float64).tiny))
    centred = logs - np.median(logs)
    spread = _MAD_TO_SD * float(np.median(np.abs(centred)))
    return Status.CONSTANT if spread == 0.0 else centred / spread


def _share(
    subject: Subject, quantity: str, chosen: Bool[np.ndarray, " examples"], order: Float[np.ndarray, " examples"]
) -> Estimate:
    at = np.flatnonzero(chosen)
    low, high = binomial_interval(at.size, chosen.size)
    note = _name(subject, at[np.argsort(order[at], kind="stable")])
    return Estimate(None, quantity, at.size / chosen.size, low, high, None, chosen.size, Status.OK, note)


def _name(subject: Subject, furthest: np.ndarray) -> str:
    """Name the examples furthest out, each once, and how their loss compares."""
    if subject.draws is None or not furthest.size:
        return ""
    ids, losses = subject.draws.example_ids.ravel(), subject.draws.example_losses.ravel()
    named: dict[int, float] = {}
    for at in furthest:
        named.setdefault(int(ids[at]), float(losses[at]))
    listed = ", ".join(f"{example} (loss {named[example]:.2f})" for example in list(named)[:_NAMED])
    return f"example {listed}; median loss of all {np.median(losses):.2f}"


STATISTIC = Statistic(
    name="outlying examples",
    needs=NormSample,
    quantities=_QUANTITIES,
    estimate=estimate_outliers,
    whole_model=True,
)
