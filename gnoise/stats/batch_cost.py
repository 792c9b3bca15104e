r"""What another batch size costs: steps against examples, and the learning rate that goes with it.

Under the noise model in which a step of the best size makes $1/(1 + B_\mathrm{simple}/B)$ of the progress of a
noiseless one, training to a loss takes $S$ steps and $E = SB$ examples with

$$\Big(\frac{S}{S_\min} - 1\Big)\Big(\frac{E}{E_\min} - 1\Big) = 1, \qquad
  \frac{S}{S_\min} = 1 + \frac{B_\mathrm{simple}}{B}, \quad \frac{E}{E_\min} = 1 + \frac{B}{B_\mathrm{simple}}.$$

Assumed: one noise scale throughout, a learning rate tuned for every batch, curvature like the identity.
$B_\mathrm{simple}$ stands in for the critical batch, which training branches measure and which may be far larger
(Merrill et al. 2025, arXiv 2505.23971).

References:
    McCandlish et al. 2018, arXiv 1812.06162, sections 2.2 and 2.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gnoise.records import Estimate, RunInfo

CAVEAT = (
    "B_simple is not the measured critical batch: training branches find that one, and it may be far larger (Merrill "
    "et al. 2025, arXiv 2505.23971). Every batch is assumed to train at its own best learning rate."
)
TIMES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Batch sizes asked about, in units of the present one."""
SGD_POWER, ADAM_POWER = 1.0, 0.5


@dataclass(frozen=True)
class Range:
    """A number with the ends of its interval; ``None`` where only the ends are known."""

    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Purchase:
    """What a batch size costs to the same loss, all relative to the present batch.

    Attributes:
        batch: in examples.
        steps: optimizer steps, hence time where batches run in parallel.
        examples: hence compute.
        lr_sgd: multiplier of the learning rate under SGD.
        lr_adam: under Adam and its like.
    """

    batch: float
    steps: Range
    examples: Range
    lr_sgd: Range
    lr_adam: Range


def present_batch(info: RunInfo) -> tuple[int, str]:
    """Return the batch that costs are relative to, and what it is.

    Args:
        info: of the run.
    """
    if info.training_batch is not None:
        return info.training_batch, "batch in training"
    return info.examples_per_draw, "batch of a draw: the checkpoint does not tell its own"


def purchases(scale: Estimate, present: float, batches: Sequence[float]) -> list[Purchase]:
    """Price batch sizes, with the noise scale's interval carried through.

    Args:
        scale: the model's noise scale; without a lower end nothing is ruled out below, likewise above.
        present: the batch in use, in examples, positive.
        batches: to be priced, positive.
    """
    low = 0.0 if scale.low is None else scale.low
    shares = (
        None if scale.value is None else noise_share(scale.value, present),
        noise_share(low, present),
        1.0 if scale.high is None else noise_share(scale.high, present),
    )
    return [_purchase(shares, present, batch) for batch in batches]


def noise_share(b_simple: float, batch: float) -> float:
    r"""Part of a step's squared gradient that is noise: $B_\mathrm{simple} / (B + B_\mathrm{simple})$."""
    return b_simple / (batch + b_simple)


def steps_ratio(share: float, present: float, batch: float) -> float:
    r"""Steps with another batch over steps with the present one: $(1 - f) + f\,B_0/B$, f the present noise share."""
    return 1.0 - share + share * present / batch


def examples_ratio(share: float, present: float, batch: float) -> float:
    r"""Examples with another batch over examples with the present one: $f + (1 - f)\,B/B_0$."""
    return share + (1.0 - share) * batch / present


def lr_multiplier(share: float, present: float, batch: float, power: float) -> float:
    r"""Learning rate for another batch over the present one: $(S_0/S)^p$, S the steps each takes.

    Below the noise scale this is $(B/B_0)^p$, the linear rule of SGD (p = 1) and the square-root rule of Adam (p = ½);
    above it the rate stops growing, where the plain rules go on. Between them the form for Adam is an interpolation.

    References:
        Goyal et al. 2017, arXiv 1706.02677, the linear rule; Malladi et al. 2022, arXiv 2205.10287, the square root;
        McCandlish et al. 2018, arXiv 1812.06162, section 2.2, the levelling off.
    """
    return steps_ratio(share, present, batch) ** -power


def _purchase(shares: tuple[float | None, float, float], present: float, batch: float) -> Purchase:
    def across(ratio: Callable[[float], float]) -> Range:
        value, low, high = (None if share is None else ratio(share) for share in shares)
        ends = [end for end in (low, high) if end is not None]
        return Range(value, min(ends), max(ends))

    return Purchase(
        batch=batch,
        steps=across(lambda share: steps_ratio(share, present, batch)),
        examples=across(lambda share: examples_ratio(share, present, batch)),
        lr_sgd=across(lambda share: lr_multiplier(share, present, batch, SGD_POWER)),
        lr_adam=across(lambda share: lr_multiplier(share, present, batch, ADAM_POWER)),
    )
