"""Examples that teach next to nothing: gradients far smaller than the rest.

Encoded or random text ends this way: once a model has learnt how often each symbol comes, nothing
is left to learn, so the loss stays high and the gradient is small. Padding and repeats are quiet, too.
"""

import numpy as np

from gnoise.records import Estimate, NormSample, Status
from gnoise.stats.intervals import no_estimate
from gnoise.stats.spikes import binomial_interval
from gnoise.stats.statistic import Statistic, Subject

QUIET = 3.0
"""Robust standard deviations of the log norm below its median."""
FEWEST_EXAMPLES = 100
_MAD_TO_SD = 1.4826
_NAMED = 5


def estimate_quiet_examples(subject: Subject, sample: NormSample) -> list[Estimate]:
    r"""Estimate the share of examples whose gradient is out of line on the small side.

    An example is quiet where $\ln\|g_i\|$ lies more than 3 robust standard deviations (1.4826 times the median
    absolute deviation) below the median; of lognormal norms 0.13% do. The interval is Clopper–Pearson's.

    Args:
        subject: the whole model; nothing is reported for a layer.
        sample: its norms. An exactly zero gradient is quiet.
    """
    if subject.layer is not None:
        return []
    sq_norms = sample.example_sq_norms.ravel()
    status = _problem(sq_norms)
    if status is not Status.OK:
        return [no_estimate(None, "quiet_example_share", status, sq_norms.size)]
    logs = 0.5 * np.log(np.maximum(sq_norms, np.finfo(np.float64).tiny))
    median = np.median(logs)
    spread = _MAD_TO_SD * float(np.median(np.abs(logs - median)))
    if spread == 0.0:
        return [no_estimate(None, "quiet_example_share", Status.CONSTANT, sq_norms.size)]
    quiet = np.flatnonzero(logs < median - QUIET * spread)
    low, high = binomial_interval(quiet.size, sq_norms.size)
    note = _name(subject, quiet[np.argsort(logs[quiet], kind="stable")])
    value = quiet.size / sq_norms.size
    return [Estimate(None, "quiet_example_share", value, low, high, None, sq_norms.size, Status.OK, note)]


def _problem(sq_norms: np.ndarray) -> Status:
    if sq_norms.size < FEWEST_EXAMPLES:
        return Status.TOO_FEW_DRAWS
    if not np.isfinite(sq_norms).all():
        return Status.NON_FINITE
    return Status.OK if sq_norms.any() else Status.ALL_ZERO


def _name(subject: Subject, quietest: np.ndarray) -> str:
    """Name the quietest examples, and how their loss compares."""
    if subject.draws is None or not quietest.size:
        return ""
    ids, losses = subject.draws.example_ids.ravel(), subject.draws.example_losses.ravel()
    named = ", ".join(f"{ids[at]} (loss {losses[at]:.2f})" for at in quietest[:_NAMED])
    of_all, of_quiet = np.median(losses), np.median(losses[quietest])
    return f"example {named}; median loss of all {of_all:.2f}, of the quiet {of_quiet:.2f}"


STATISTIC = Statistic(
    name="quiet examples",
    needs=NormSample,
    quantities=("quiet_example_share",),
    estimate=estimate_quiet_examples,
    whole_model=True,
)
