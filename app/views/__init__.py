"""The pages, in the order of the navigation: each has a ``TITLE`` and a ``render(run)``."""

from . import about, compare, layers, noise_scale, overview, remedies, trial

VIEWS = (overview, layers, noise_scale, remedies, trial, compare, about)
