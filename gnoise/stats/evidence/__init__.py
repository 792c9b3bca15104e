"""What each remedy would have bought: recorded draws through remedy and optimizer, weights frozen or along a path."""

from gnoise.stats.evidence.along_path import measure_along
from gnoise.stats.evidence.arms import ARMS, NONE, Arm, Gradients
from gnoise.stats.evidence.calibration import MARGINS, calibrated
from gnoise.stats.evidence.gain import BATCH, Gain, batch_gains, best_gain, equivalent_batch, gains, setting_gains
from gnoise.stats.evidence.judged import default_notice, judged_under
from gnoise.stats.evidence.ladder import Judged, Ladders
from gnoise.stats.evidence.matrix_arms import GAMMAS, MATRIX_ARMS, MatrixArm, Met, is_followed
from gnoise.stats.evidence.matrix_progress import fewest_draws, matrix_progress
from gnoise.stats.evidence.optimizers import (
    OPTIMIZERS,
    Simulated,
    Spectral,
    adam,
    sgd,
    sign,
    simulated_optimizer,
    spectral_optimizer,
)
from gnoise.stats.evidence.progress import Progress, add_progress, measure_progress
from gnoise.stats.evidence.rates import EVERY_RATE, LAYERWISE_LR, RATES, every_rate_progress, rate_progress

__all__ = [
    "ARMS",
    "BATCH",
    "EVERY_RATE",
    "GAMMAS",
    "LAYERWISE_LR",
    "MARGINS",
    "MATRIX_ARMS",
    "NONE",
    "OPTIMIZERS",
    "RATES",
    "Arm",
    "Gain",
    "Gradients",
    "Judged",
    "Ladders",
    "MatrixArm",
    "Met",
    "Progress",
    "Simulated",
    "Spectral",
    "adam",
    "add_progress",
    "batch_gains",
    "best_gain",
    "calibrated",
    "default_notice",
    "equivalent_batch",
    "every_rate_progress",
    "fewest_draws",
    "gains",
    "is_followed",
    "judged_under",
    "matrix_progress",
    "measure_along",
    "measure_progress",
    "rate_progress",
    "setting_gains",
    "sgd",
    "sign",
    "simulated_optimizer",
    "spectral_optimizer",
]
