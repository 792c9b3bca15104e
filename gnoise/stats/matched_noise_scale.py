r"""Noise scale in the norm an optimizer steps in, rather than the Euclidean one.

Adam's step is steepest descent for the curvature norm $\|u\|_H^2 = \sum_i \sqrt{v_i}\,u_i^2$, so gradients count in the
dual norm, each entry divided by $\sqrt{v_i}$:

$$B_\mathrm{Adam} = \frac{\sum_i \Sigma_{ii}/\sqrt{v_i}}{\sum_i G_i^2/\sqrt{v_i}}$$

where $B_\mathrm{simple}$ has weights of one. It is read off the fixed coordinates of every draw, which are scarcer than
norms of whole tensors: its intervals are wider. Like $B_\mathrm{simple}$ it is not the measured critical batch.

Muon's counterpart needs whole matrices: :mod:`gnoise.stats.muon_noise_scale`.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gnoise.records import CoordinateSample, DrawSample, Estimate, NormSample, Status
from gnoise.stats.intervals import no_estimate
from gnoise.stats.noise_scale import estimate_noise_scale
from gnoise.stats.statistic import Statistic, Subject

_MOST_BLOCKS = 8
_EPS = 1e-8


def estimate_adam_noise_scale(subject: Subject, sample: CoordinateSample) -> list[Estimate]:
    """Estimate a tensor's noise scale in Adam's norm; ``n`` is the number of blocks compared.

    Args:
        subject: the layer; nothing is reported where its optimizer is known to be another, or its draws are not.
        sample: its coordinates, with the second moment of each.
    """
    if subject.draws is None or not uses_adam(subject):
        return []
    norms = adam_norms(subject, sample)
    if norms is None:
        return [no_estimate(subject.name, "b_adam", Status.NO_OPTIMIZER_STATE, sample.values.shape[0])]
    return [adam_estimate(subject.name, norms, subject.draws)]


def adam_estimate(name: str | None, norms: NormSample, draws: DrawSample) -> Estimate:
    """Report a noise scale in Adam's norm, counted in examples.

    Args:
        name: of the layer; ``None`` for the model.
        norms: from :func:`adam_norms`, or a sum of them over tensors.
        draws: what was drawn, for the number of examples in a draw.
    """
    return noise_scale_of(name, "b_adam", norms, unit=examples_per_draw(draws))


def noise_scale_of(name: str | None, quantity: str, norms: NormSample, *, unit: float = 1.0) -> Estimate:
    """Estimate the noise scale of any norms, under any name.

    Args:
        name: of the layer; ``None`` for the model.
        quantity: to be reported as.
        norms: squared norms, or sums of them over tensors.
        unit: examples in what the norms count as one.
    """
    plain = next(e for e in estimate_noise_scale(Subject(layer=None), norms) if e.quantity == "b_simple")
    value, low, high = (None if x is None else x * unit for x in (plain.value, plain.low, plain.high))
    return replace(plain, layer=name, quantity=quantity, value=value, low=low, high=high)


def adam_norms(subject: Subject, sample: CoordinateSample) -> NormSample | None:
    r"""Take squared norms of the draws with each entry divided by $\sqrt{\hat v_i} + \epsilon$, for the whole tensor.

    Draws take the place of examples and pairs of draws that of draws: a noise scale of these norms counts draws.
    Coordinates that Adam never saw move ($v_i = 0$) are left out.

    Args:
        subject: the layer, for its size and the optimizer's ε.
        sample: its coordinates.

    Returns:
        ``None`` where the run holds no second moments.
    """
    if sample.second_moment is None or subject.layer is None:
        return None
    eps = subject.optimizer.get("eps", _EPS)
    second = sample.second_moment.astype(np.float64)
    weights = np.zeros_like(second)
    weights[second > 0.0] = 1.0 / (np.sqrt(second[second > 0.0]) + (eps if isinstance(eps, int | float) else _EPS))
    return _norms(sample.values, weights * (subject.layer.numel / max(second.size, 1)))


def uses_adam(subject: Subject) -> bool:
    """Tell whether the optimizer may be one of Adam's family; it may be where the checkpoint does not say."""
    name = subject.optimizer.get("name")
    return not isinstance(name, str) or not name or "adam" in name.lower()


def examples_per_draw(draws: DrawSample) -> float:
    """Count examples, unequal weights as fewer of them: 1 / mean Σw²."""
    squares = np.square(draws.example_weights).sum(1)
    return float(1.0 / squares.mean()) if squares.size else 1.0


def _norms(values: Float[np.ndarray, "draws coords"], weights: Float[np.ndarray, " coords"]) -> NormSample:
    draws = values.shape[0] // 2 * 2
    scaled = values[:draws].astype(np.float64) * np.sqrt(weights)
    blocks = next((k for k in range(_MOST_BLOCKS, 1, -1) if draws and draws % (4 * k) == 0), 1)
    pairs = scaled.reshape(draws // 2, 2, -1)
    of_blocks = scaled.reshape(blocks, draws // blocks, -1).mean(1) if draws else scaled
    return NormSample(
        example_sq_norms=np.square(pairs).sum(2),
        draw_sq_norms=np.square(pairs.mean(1)).sum(1),
        block_sq_norms=np.square(of_blocks).sum(1),
        example_weights=np.full((draws // 2, 2), 0.5),
    )


STATISTIC = Statistic(
    name="adam_noise_scale",
    needs=CoordinateSample,
    quantities=("b_adam",),
    estimate=estimate_adam_noise_scale,
)
