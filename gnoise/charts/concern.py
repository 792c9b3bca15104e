"""How loud a number is, from 0 to 1: what the heat map is coloured by."""

import math
from dataclasses import dataclass

from gnoise.records import Estimate, Layer
from gnoise.rules.diagnosis import ALPHA, SLOPE, SPIKE
from gnoise.rules.loud_examples import LOUD as EXAMPLE_SPIKE
from gnoise.rules.noise_ratio import RATIO
from gnoise.stats.localization import gaussian_max_entry_ratio

LOUD = 0.5
"""From here on a number is loud: where a rule would speak, if it looked at this number alone."""


@dataclass(frozen=True)
class _Scale:
    """Three values of a quantity: calm (0), loud (0.5), and as loud as it gets (1)."""

    calm: float
    loud: float
    loudest: float
    is_factor: bool = False

    def place(self, value: float) -> float:
        at, calm, loud, loudest = (
            math.log(max(x, 1e-300)) if self.is_factor else x for x in (value, self.calm, self.loud, self.loudest)
        )
        past_loud = (at - loud) / (loudest - loud)
        below = (at - calm) / (loud - calm)
        return min(max(0.5 + 0.5 * past_loud if past_loud > 0.0 else 0.5 * below, 0.0), 1.0)


_SCALES = {
    "alpha_draws": _Scale(2.0, ALPHA, 1.2),
    "averaging_slope": _Scale(-0.5, SLOPE, -0.1),
    "row_dispersion": _Scale(2.0, 10.0, 200.0, is_factor=True),
    "column_dispersion": _Scale(2.0, 10.0, 200.0, is_factor=True),
    "spike_ratio": _Scale(1.5, SPIKE, 30.0, is_factor=True),
    "example_spike_ratio": _Scale(2.0, EXAMPLE_SPIKE, 40.0, is_factor=True),
}


def concern(estimate: Estimate, layer: Layer, *, median_noise_scale: float | None) -> float | None:
    """Place an estimate between calm (0) and as loud as it gets (1); ``None`` where there is no scale.

    The *calmest* end of the 95% interval is placed, not the value: a number that is merely uncertain is
    never loud, and an end that is unbounded is calm. Ratios are placed by their logarithm.

    Args:
        estimate: of this layer.
        layer: its shape says what is normal for the largest entry.
        median_noise_scale: over all layers, which one layer's noise scale is held against.
    """
    scale = _scale(estimate.quantity, layer, median_noise_scale)
    if scale is None or (estimate.low is None and estimate.high is None):
        return None
    calmest = estimate.low if scale.calm < scale.loud else estimate.high
    return 0.0 if calmest is None else scale.place(calmest)


def calm_max_entry_ratio(layer: Layer) -> float:
    """Expect the largest entry against σ₁ of Gaussian noise in a layer seen as rows × columns.

    Args:
        layer: with two or more dimensions; at most 0.9 is returned, so that tiny matrices keep a scale.
    """
    rows = max(layer.shape[0], 1)
    return min(gaussian_max_entry_ratio(rows, max(layer.numel // rows, 1)), 0.9)


def _scale(quantity: str, layer: Layer, median_noise_scale: float | None) -> _Scale | None:
    if quantity == "max_entry_ratio" and len(layer.shape) >= 2:
        calm = calm_max_entry_ratio(layer)
        return _Scale(calm, 0.5 * (calm + 1.0), 1.0)
    if quantity == "b_simple" and median_noise_scale is not None and median_noise_scale > 0.0:
        steps = (1.0, RATIO, RATIO**2)
        return _Scale(*(step * median_noise_scale for step in steps), is_factor=True)
    return _SCALES.get(quantity)
