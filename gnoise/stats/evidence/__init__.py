"""What each remedy would have bought: recorded draws through remedy and optimizer, the weights frozen."""

from gnoise.stats.evidence.arms import ARMS, NONE, Arm, Gradients
from gnoise.stats.evidence.gain import Gain, equivalent_batch, gains
from gnoise.stats.evidence.optimizers import Simulated, adam, sgd, sign, simulated_optimizer
from gnoise.stats.evidence.progress import Progress, add_progress, measure_progress

__all__ = [
    "ARMS",
    "NONE",
    "Arm",
    "Gain",
    "Gradients",
    "Progress",
    "Simulated",
    "adam",
    "add_progress",
    "equivalent_batch",
    "gains",
    "measure_progress",
    "sgd",
    "sign",
    "simulated_optimizer",
]
