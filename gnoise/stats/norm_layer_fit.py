"""Whether the norm layers' own noise scale, which is cheap to follow, tells the whole model's."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from gnoise.stats.intervals import CONFIDENCE

FEWEST_MOMENTS = 3


@dataclass(frozen=True)
class NormLayerFit:
    """A straight line through moments of one training.

    Attributes:
        slope: examples of the whole model's noise scale per example of the norm layers'.
        slope_low: lower end of its 95% interval.
        slope_high: upper end.
        intercept: in examples.
        r: Pearson's correlation.
        error: residual standard deviation over the mean noise scale.
        moments: how many there were.
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    r: float
    error: float
    moments: int

    def predict(self, norm: Float[np.ndarray, " any"]) -> Float[np.ndarray, " any"]:
        """Return the whole model's noise scale on the line.

        Args:
            norm: noise scale of the norm layers, in examples.
        """
        return self.intercept + self.slope * norm


def fit_norm_layers(norm: Float[np.ndarray, " moments"], total: Float[np.ndarray, " moments"]) -> NormLayerFit | None:
    r"""Regress the whole model's noise scale on the norm layers', over moments of one training.

    Least squares; the slope's interval is Student's t on n − 2 degrees of freedom, and takes neither noise scale's own
    interval into account.

    Args:
        norm: noise scale of the norm layers at each moment, in examples.
        total: of the whole model.

    Returns:
        ``None`` for fewer than three moments, or norm layers that never change.

    References:
        Gray et al. 2024, arXiv 2411.00999.
    """
    moments = norm.size
    spread = float(np.square(norm - norm.mean()).sum()) if moments else 0.0
    if moments < FEWEST_MOMENTS or spread <= 1e-12 * float(np.square(norm).sum()):
        return None
    slope = float((norm - norm.mean()) @ (total - total.mean())) / spread
    intercept = float(total.mean() - slope * norm.mean())
    residual = float(np.square(total - intercept - slope * norm).sum()) / (moments - 2)
    half = float(stdtrit(moments - 2, 0.5 + CONFIDENCE / 2.0)) * np.sqrt(residual / spread)
    deviation = float(np.std(total))
    r = float(slope * np.std(norm) / deviation) if deviation > 0.0 else 0.0
    error = float(np.sqrt(residual) / total.mean())
    return NormLayerFit(slope, slope - half, slope + half, intercept, max(-1.0, min(1.0, r)), error, moments)
