"""Training both ways from a checkpoint, to check what was recommended."""

from gnoise.trial.arms import NAMES
from gnoise.trial.trial import Progress, trial

__all__ = ["NAMES", "Progress", "trial"]
