"""Training both ways from a checkpoint, to check what was recommended."""

from gnoise.trials.arms import NAMES
from gnoise.trials.trial import Progress, trial

__all__ = ["NAMES", "Progress", "trial"]
